"""What a recipe gets and gives: a location of an untouched model, and the parts that are tuned."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import PreTrainedModel

from locscope.locations import Location
from locscope.models.parts import Slice, blocks, slices, take
from locscope.plugins import function_of
from locscope.records import Recipe
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import Parametrization, TunedPart, slice_of
from locscope.tuning.matrices import blocks_path
from locscope.tuning.recipes import TUNES_ALL_BLOCKS, recipe_named


@dataclass(frozen=True)
class RecipeInput:
    """What a recipe may read: the untouched model, where and how it is tuned, and the seed."""

    model: PreTrainedModel
    location: Location
    recipe: Recipe
    seed: int
    importances: Importances


def tuned_parts_of(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """What is tuned at the location by the recipe's kind.

    Raises UsageError for a kind that is not in the table, or settings that the recipe refuses.
    """
    return function_of(recipe_named(recipe_input.recipe.kind).function)(recipe_input)


def read_weights_of(model: PreTrainedModel, location: Location, kind: str) -> list[str]:
    """Names of the parameters that a recipe may read or tune, at least: those have to be on the
    device."""
    if kind == "full":
        return [piece.name for piece in slices(model, location)]
    # Others look at more than they tune, as at attention's output for offsets of heads.
    everywhere = kind in TUNES_ALL_BLOCKS
    last = len(blocks(model)) - 1
    layers = range(last + 1) if everywhere else range(location.lowest, location.highest + 1)
    return [piece.name for n in layers for piece in slices(model, Location.at(n, "block"))]


def lowest_layer(model: PreTrainedModel, parts: Sequence[TunedPart]) -> int:
    """The lowest layer that changes: everything below is frozen, so its outputs may be cached."""
    # By names, as parts may be slices of any parameter of a layer.
    before = len(blocks_path(model)) + 1
    return min(int(slice_of(part).name[before:].partition(".")[0]) for part in parts)


def only(
    recipe_input: RecipeInput, piece: Slice, chosen: Int64[Tensor, " some"]
) -> Parametrization:
    """The elements of a slice with these numbers, counted in the order of `take`."""
    start = take(recipe_input.model.get_parameter(piece.name), piece)

    def weights(values: Float[Tensor, " some"]) -> Float[Tensor, " count"]:
        return start.index_put((chosen,), values)

    return Parametrization(piece, (start[chosen],), weights)


def choices(recipe_input: RecipeInput) -> random.Random:
    """Random numbers of a recipe's own, by the trial's seed."""
    # By kind too, so that two recipes of one seed do not draw alike.
    return random.Random(f"{recipe_input.recipe.kind} {recipe_input.seed}")


def draws(recipe_input: RecipeInput) -> torch.Generator:
    """The same for tensors."""
    return torch.Generator().manual_seed(choices(recipe_input).getrandbits(63))
