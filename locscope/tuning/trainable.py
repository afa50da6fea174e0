"""What a recipe makes of a location: what the optimiser steps, and the weights it stands for."""

import random
from dataclasses import dataclass
from importlib import import_module

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import PreTrainedModel

from locscope.locations import Location, Site
from locscope.models.parts import Slice, blocks, take
from locscope.records import Recipe
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import Parametrization
from locscope.tuning.recipes import recipe_named


@dataclass(frozen=True)
class RecipeInput:
    """What a recipe may look at: the untouched model, where and how to tune it, and the seed."""

    model: PreTrainedModel
    location: Location
    recipe: Recipe
    seed: int
    importances: Importances


@dataclass(frozen=True)
class TrainableSet:
    """What is tuned; a slice alone is tuned whole.

    `lowest` is the lowest layer that changes, `unbiased` names the modules that are lent a bias.
    """

    parts: tuple[Slice | Parametrization, ...]
    lowest: int
    unbiased: tuple[str, ...] = ()


def trainable_set_of(recipe_input: RecipeInput) -> TrainableSet:
    """What the recipe's kind makes of the location; a UsageError for one that is not known."""
    module, name = recipe_named(recipe_input.recipe.kind).function.split(":")
    return getattr(import_module(module), name)(recipe_input)


def only(
    recipe_input: RecipeInput, piece: Slice, chosen: Int64[Tensor, " some"]
) -> Parametrization:
    """The elements of a slice with these numbers, counted in the order of `take`."""
    start = take(recipe_input.model.get_parameter(piece.name), piece)

    def weights(values: Float[Tensor, " some"]) -> Float[Tensor, " count"]:
        return start.index_put((chosen,), values)

    return Parametrization(piece, (start[chosen],), weights)


def every_block(model: PreTrainedModel) -> Location:
    """All layers, whole."""
    return Location((Site(0, len(blocks(model)) - 1, "block"),))


def choices(recipe_input: RecipeInput) -> random.Random:
    """Random numbers of a recipe's own, by the trial's seed."""
    return random.Random(f"{recipe_input.recipe.kind} {recipe_input.seed}")


def draws(recipe_input: RecipeInput) -> torch.Generator:
    """The same for tensors."""
    return torch.Generator().manual_seed(choices(recipe_input).getrandbits(63))
