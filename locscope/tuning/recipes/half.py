"""HFT: half of the matrices are frozen, whichever they are.

Source: HFT (arXiv 2404.18466), level of categories: of attention's four matrices two are tuned, of
an odd number more than half are frozen in a random half of the layers and less than half in the
others, and of two norms one. Drawn once a trial. Where a category has one matrix alone, a random
half of its rows is tuned. Fused matrices count as what they are fused of.
"""

import random
from collections.abc import Sequence

from transformers import PreTrainedModel

from locscope.models.parts import Slice
from locscope.tuning.matrices import Matrix, matrices, row_count, rows
from locscope.tuning.trainable import RecipeInput, TrainableSet, choices


def plan(recipe_input: RecipeInput) -> TrainableSet:
    """A random half of every category of every layer of the location."""
    groups: dict[tuple[int, str], list[Matrix]] = {}
    for matrix in matrices(recipe_input.model, recipe_input.location):
        groups.setdefault((matrix.layer, matrix.category), []).append(matrix)
    random = choices(recipe_input)
    generous = _generous(random, sorted({layer for layer, _ in groups}))
    found: list[Slice] = []
    for (layer, _), group in groups.items():
        found.extend(_half(recipe_input.model, random, group, layer in generous))
    return TrainableSet(tuple(found), recipe_input.location.lowest)


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
