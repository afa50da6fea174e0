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
from locscope.tuning.master_weights import Strand
from locscope.tuning.recipes import recipe_named


@dataclass(frozen=True)
class Ground:
    """What a recipe may look at: the untouched model, where and how to tune it, and the seed."""

    model: PreTrainedModel
    location: Location
    recipe: Recipe
    seed: int
    importances: Importances


@dataclass(frozen=True)
class Tunable:
    """What is tuned; a slice alone is tuned whole.

    `lowest` is the lowest layer that changes, `unbiased` names the modules that are lent a bias.
    """

    parts: tuple[Slice | Strand, ...]
    lowest: int
    unbiased: tuple[str, ...] = ()


def tunable_of(ground: Ground) -> Tunable:
    """What the recipe's kind makes of the location; a UsageError for one that is not known."""
    module, name = recipe_named(ground.recipe.kind).function.split(":")
    return getattr(import_module(module), name)(ground)


def only(ground: Ground, piece: Slice, chosen: Int64[Tensor, " some"]) -> Strand:
    """The elements of a slice with these numbers, counted in the order of `take`."""
    start = take(ground.model.get_parameter(piece.name), piece)

    def weights(values: Float[Tensor, " some"]) -> Float[Tensor, " count"]:
        return start.index_put((chosen,), values)

    return Strand(piece, (start[chosen],), weights)


def every_block(model: PreTrainedModel) -> Location:
    """All layers, whole."""
    return Location((Site(0, len(blocks(model)) - 1, "block"),))


def choices(ground: Ground) -> random.Random:
    """Random numbers of a recipe's own, by the trial's seed."""
    return random.Random(f"{ground.recipe.kind} {ground.seed}")


def draws(ground: Ground) -> torch.Generator:
    """The same for tensors."""
    return torch.Generator().manual_seed(choices(ground).getrandbits(63))
