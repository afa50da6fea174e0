"""APET's null: as many weights as the location has, but arbitrary ones.

Source: APET (arXiv 2306.02320): tensors are shuffled by a seed and taken greedily while they fit.
What is then left of the budget is filled with the first weights of the next tensor, so that the
number is exact. Drawn over all blocks by the trial's seed, the location's own tensors among them.
"""

import torch

from locscope.models.parts import Slice, slices
from locscope.tuning.master_weights import Strand
from locscope.tuning.matrices import blocks_path
from locscope.tuning.trainable import Ground, Tunable, choices, every_block, only


def plan(ground: Ground) -> Tunable:
    """Weights of all blocks, as many as the location has."""
    tensors = list(slices(ground.model, every_block(ground.model)))
    choices(ground).shuffle(tensors)
    left = sum(piece.count for piece in slices(ground.model, ground.location))
    found: list[Slice | Strand] = []
    beyond: list[Slice] = []
    for piece in tensors:
        if piece.count <= left:
            found.append(piece)
            left -= piece.count
        else:
            beyond.append(piece)
    names = [part.name for part in found if isinstance(part, Slice)]
    if left:
        device = ground.model.get_parameter(beyond[0].name).device
        found.append(only(ground, beyond[0], torch.arange(left, device=device)))
        names.append(beyond[0].name)
    before = len(blocks_path(ground.model)) + 1
    return Tunable(tuple(found), min(int(name[before:].partition(".")[0]) for name in names))
