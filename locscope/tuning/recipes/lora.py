"""LoRA at the location: W = W0 + (alpha / r) B A for every matrix, tuned as any other recipe.

Source: LoRA (arXiv 2106.09685), with PEFT's start (A uniform within 1 / sqrt(inputs), B zero) and
its defaults r = alpha = 8; no dropout. Each tensor of the location has one pair, a fused one too,
as in PEFT. The model always holds the merged weights, rounded as they would be saved: the gradients
of A and B follow from that of W by the chain rule.
"""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.errors import UsageError
from locscope.models.parts import Slice, slices, take
from locscope.records.trials import RANK
from locscope.tuning.master_weights import Parametrization, TunedPart
from locscope.tuning.matrices import as_flat, as_matrix
from locscope.tuning.trainable import RecipeInput, draws


def plan(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """A pair of low-rank factors for every matrix of the location, and alpha that equals r.

    Raises UsageError for a negative rank.
    """
    rank = recipe_input.recipe.rank or RANK
    if rank < 1:
        raise UsageError(f"rank {rank} of recipe lora: give 1 or more, or 0 for {RANK}")
    generator = draws(recipe_input)
    pieces = slices(recipe_input.model, recipe_input.location)
    # Biases of experts are stacked, too: two-dimensional, and no matrix.
    matrices = [
        piece
        for piece in pieces
        if recipe_input.model.get_parameter(piece.name).dim() > 1 and piece.name[-4:] != "bias"
    ]
    return tuple(_pair(recipe_input, piece, rank, generator) for piece in matrices)


def _pair(
    recipe_input: RecipeInput, piece: Slice, rank: int, generator: torch.Generator
) -> Parametrization:
    start = take(recipe_input.model.get_parameter(piece.name), piece)
    outputs, inputs = as_matrix(recipe_input.model, piece, start).shape
    # Drawn on the CPU, so that every device sees the same.
    a = (2 * torch.rand(rank, inputs, generator=generator) - 1) / sqrt(inputs)
    # Zero, so that the trial starts from the untouched weights.
    b = torch.zeros(outputs, rank)

    def weights(
        a: Float[Tensor, "rank inputs"], b: Float[Tensor, "outputs rank"]
    ) -> Float[Tensor, " count"]:
        return start + as_flat(recipe_input.model, piece, b @ a)

    return Parametrization(piece, (a.to(start.device), b.to(start.device)), weights)
