"""APET's null: as many weights as the location has, but arbitrary ones.

Source: APET (arXiv 2306.02320): tensors are shuffled by a seed and taken greedily while they fit.
What is then left of the budget is filled with the first weights of the next tensor, so that the
number is exact. Drawn over all blocks by the trial's seed, the location's own tensors among them.
"""

import torch

from locscope.models.parts import Slice, slices
from locscope.tuning.master_weights import Parametrization
from locscope.tuning.matrices import blocks_path
from locscope.tuning.trainable import RecipeInput, TrainableSet, choices, every_block, only


def plan(recipe_input: RecipeInput) -> TrainableSet:
    """Weights of all blocks, as many as the location has."""
    tensors = list(slices(recipe_input.model, every_block(recipe_input.model)))
    choices(recipe_input).shuffle(tensors)
    left = sum(piece.count for piece in slices(recipe_input.model, recipe_input.location))
    found: list[Slice | Parametrization] = []
    beyond: list[Slice] = []
    for piece in tensors:
        if piece.count <= left:
            found.append(piece)
            left -= piece.count
        else:
            beyond.append(piece)
    names = [part.name for part in found if isinstance(part, Slice)]
    if left:
        device = recipe_input.model.get_parameter(beyond[0].name).device
        found.append(only(recipe_input, beyond[0], torch.arange(left, device=device)))
        names.append(beyond[0].name)
    before = len(blocks_path(recipe_input.model)) + 1
    return TrainableSet(tuple(found), min(int(name[before:].partition(".")[0]) for name in names))
