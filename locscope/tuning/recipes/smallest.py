"""SaRA's mask: only the weights that are smallest in magnitude are tuned.

Source: SaRA (arXiv 2409.06633), which says that the smallest 10 to 20 % contribute nothing. Its
absolute threshold does not carry over to other models, so here it is a share of every tensor. Its
nuclear norm and its second choice after 2,500 steps are left out, and weights start with their own
sign (its code starts them at their absolute value).
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from locscope.models.parts import Slice, slices, take
from locscope.tuning.trainable import RecipeInput, TrainableSet, only

SHARE = 0.2


def plan(recipe_input: RecipeInput) -> TrainableSet:
    """The smallest fifth of every tensor of the location, one weight at least."""
    found = slices(recipe_input.model, recipe_input.location)
    parts = tuple(only(recipe_input, piece, _smallest(recipe_input, piece)) for piece in found)
    return TrainableSet(parts, recipe_input.location.lowest)


def _smallest(recipe_input: RecipeInput, piece: Slice) -> Int64[Tensor, " some"]:
    values = take(recipe_input.model.get_parameter(piece.name), piece).abs()
    count = max(1, round(SHARE * piece.count))
    return torch.sort(values, stable=True).indices[:count].sort().values
