"""CoFiTune's soft mask: the more general ability depends on a unit, the less its weights move.

Source: CoFiTune (arXiv 2404.10306), with errors of its code corrected:
- the mask 1 - I goes by row, not along the flattened weight;
- importance sums |gradients| over texts, and a unit of less than the layer's mean is free (its
  |tanh| of a z-score slows the least important units down like the most important ones);
- gate rows go with those of up: it is their product that the unit is;
- the mask is on the step. Adam divides every gradient by its own size, and with it any constant
  factor: a mask on gradients does nothing at all.
q, k and v go by their head's rows (k and v by the most important head that shares them), o by the
head's columns. Norms are free.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.models.parts import Slice, head_counts, put, slices, take
from locscope.tuning.importance import ByUnit
from locscope.tuning.master_weights import Parametrization, TunedPart
from locscope.tuning.matrices import Matrix, as_flat, as_matrix, leaves_of
from locscope.tuning.trainable import RecipeInput


def plan(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """All weights of the location, each with the step that its unit's importance leaves it."""
    pieces = slices(recipe_input.model, recipe_input.location)
    layers = [n for site in recipe_input.location.sites for n in range(site.first, site.last + 1)]
    by_unit = recipe_input.importances.of(layers)
    leaves = [n for layer in sorted(set(layers)) for n in leaves_of(recipe_input.model, layer)]
    return tuple(
        _slowed(recipe_input, piece, _mask(recipe_input, piece, leaves, by_unit))
        for piece in pieces
    )


def _slowed(
    recipe_input: RecipeInput, piece: Slice, mask: Float[Tensor, " count"]
) -> Parametrization:
    """A slice of which every weight moves by its share of the master's step."""
    # In float32, and fixed: the mask is on how far a weight is from here.
    start = take(recipe_input.model.get_parameter(piece.name), piece)

    # On the values, not on gradients: Adam would divide a constant factor out again.
    def weights(values: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
        return start + mask * (values - start)

    return Parametrization(piece, (start.clone(),), weights)


def _mask(
    recipe_input: RecipeInput, piece: Slice, leaves: list[Matrix], by_unit: ByUnit
) -> Float[Tensor, " count"]:
    """1 - I for every weight of a slice."""
    weight = recipe_input.model.get_parameter(piece.name)
    mask = torch.ones_like(weight, dtype=torch.float32, requires_grad=False)
    for leaf in leaves:
        for part in leaf.slices:
            if part.name == piece.name:
                put(mask, part, 1 - _spread(recipe_input, leaf, part, by_unit))
    return take(mask, piece)


def _spread(
    recipe_input: RecipeInput, leaf: Matrix, piece: Slice, by_unit: ByUnit
) -> Float[Tensor, " count"]:
    """The importance of the unit that every weight of a matrix, or of its bias, belongs to."""
    bias = recipe_input.model.get_parameter(piece.name).dim() == 1
    matrix = as_matrix(recipe_input.model, leaf.slices[0], torch.zeros(leaf.slices[0].count))
    if leaf.part == "attn.o":
        heads = by_unit[leaf.layer, "attn.o"]
        columns = heads.repeat_interleave(matrix.shape[1] // heads.numel())
        return (
            torch.zeros(piece.count)
            if bias
            else as_flat(recipe_input.model, piece, columns.expand_as(matrix))
        )
    by_row = _rows(recipe_input, leaf, by_unit, len(matrix))
    return by_row if bias else as_flat(recipe_input.model, piece, by_row[:, None].expand_as(matrix))


def _rows(
    recipe_input: RecipeInput, leaf: Matrix, by_unit: ByUnit, count: int
) -> Float[Tensor, " rows"]:
    if leaf.part == "mlp.down":
        return by_unit[leaf.layer, "mlp.down"]
    if leaf.part in ("mlp.up", "mlp.gate"):
        return by_unit[leaf.layer, "mlp.up"]
    heads = by_unit[leaf.layer, "attn.o"]
    if leaf.part != "attn.q":
        # Rows of k and v serve every query head of their group.
        _, shared = head_counts(recipe_input.model)
        heads = heads.view(shared, -1).amax(1)
    return heads.repeat_interleave(count // heads.numel())
