"""Recipes that tune weights as they are, each its own master: all of a location, some, or others.

`full` tunes the whole location.

`half` is HFT (arXiv 2404.18466), level of categories: of attention's four matrices two are tuned,
of an odd number more than half are frozen in a random half of the layers and less than half in the
others, and of two norms one. Drawn once a trial. Where a category has one matrix alone, a random
half of its rows is tuned. Fused matrices count as what they are fused of.

`smallest` is SaRA's mask (arXiv 2409.06633), which says that the smallest 10 to 20 % contribute
nothing. Its absolute threshold does not carry over to other models, so here it is a share of every
tensor. Its nuclear norm and its second choice after 2,500 steps are left out, and weights start
with their own sign (its code starts them at their absolute value).

`budget` is the null of APET (arXiv 2306.02320): as many weights as the location has, but arbitrary
ones. Tensors of all blocks are shuffled by the trial's seed and taken greedily while they fit. What
is then left of the budget is filled with the first weights of the next tensor, so that the number
is exact. The location's own tensors may be among them.

`all_blocks` is full fine-tuning, wherever the location is. Embeddings, the final norm and the head
stay frozen, as in all that is tuned here: texts enter at the first block, and the untouched head is
what the tuned model's states are compared by.
"""

import random
from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import PreTrainedModel

from locscope.locations import Location, Site
from locscope.models.parts import Slice, blocks, slices, take
from locscope.tuning.matrices import Matrix, matrices, row_count, rows
from locscope.tuning.trainable import RecipeInput, TunedPart, choices, only

SHARE = 0.2
"""SaRA: the smallest fifth."""


def full(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """All weights of the location."""
    return slices(recipe_input.model, recipe_input.location)


def all_blocks(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """All weights of all blocks."""
    return slices(recipe_input.model, _every_block(recipe_input.model))


def smallest(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """The smallest fifth of every tensor of the location, one weight at least."""
    pieces = slices(recipe_input.model, recipe_input.location)
    return tuple(only(recipe_input, piece, _smallest(recipe_input, piece)) for piece in pieces)


def budget(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """Weights of all blocks, as many as the location has."""
    tensors = list(slices(recipe_input.model, _every_block(recipe_input.model)))
    choices(recipe_input).shuffle(tensors)
    left = sum(piece.count for piece in slices(recipe_input.model, recipe_input.location))
    chosen: list[TunedPart] = []
    too_large: list[Slice] = []
    for piece in tensors:
        if piece.count <= left:
            chosen.append(piece)
            left -= piece.count
        else:
            too_large.append(piece)
    if left:
        device = recipe_input.model.get_parameter(too_large[0].name).device
        chosen.append(only(recipe_input, too_large[0], torch.arange(left, device=device)))
    return tuple(chosen)


def half(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """A random half of every category of every layer of the location."""
    groups: dict[tuple[int, str], list[Matrix]] = {}
    for matrix in matrices(recipe_input.model, recipe_input.location):
        groups.setdefault((matrix.layer, matrix.category), []).append(matrix)
    random = choices(recipe_input)
    generous = _generous(random, sorted({layer for layer, _ in groups}))
    chosen: list[Slice] = []
    for (layer, _), group in groups.items():
        chosen.extend(_half(recipe_input.model, random, group, layer in generous))
    return tuple(chosen)


def _every_block(model: PreTrainedModel) -> Location:
    return Location((Site(0, len(blocks(model)) - 1, "block"),))


def _smallest(recipe_input: RecipeInput, piece: Slice) -> Int64[Tensor, " some"]:
    values = take(recipe_input.model.get_parameter(piece.name), piece).abs()
    count = max(1, round(SHARE * piece.count))
    # Stable, so that equal magnitudes are chosen alike on every device.
    return torch.sort(values, stable=True).indices[:count].sort().values


def _generous(random: random.Random, layers: Sequence[int]) -> set[int]:
    """The half of the layers (of an odd number, either way) that tune the larger part."""
    return set(random.sample(layers, (len(layers) + random.randint(0, 1)) // 2))


def _half(
    model: PreTrainedModel, random: random.Random, group: Sequence[Matrix], generous: bool
) -> list[Slice]:
    if len(group) == 1:
        return _half_of_rows(model, random, group[0])
    count = (len(group) + generous) // 2
    return [piece for matrix in random.sample(group, count) for piece in matrix.slices]


def _half_of_rows(model: PreTrainedModel, random: random.Random, matrix: Matrix) -> list[Slice]:
    """The same rows of a matrix and of its bias."""
    count = row_count(model, matrix.slices[0])
    chosen = random.sample(range(count), max(1, count // 2))
    return [rows(model, piece, chosen) for piece in matrix.slices]
