"""The weights of a location as matrices: by part, by row, and as (outputs, inputs)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.parts import Slice, blocks, family_of, parts, slices
from locscope.models.structure.choices import as_rows, is_mixture

OTHER = "norm"
"""The category of parameters that belong to no matrix."""


@dataclass(frozen=True)
class Matrix:
    """One matrix of a layer with its bias, or one norm; `part` is its part's name, or `norm`."""

    layer: int
    part: str
    slices: tuple[Slice, ...]

    @property
    def category(self) -> str:
        """`attn`, `mlp` or `norm`."""
        return self.part.partition(".")[0]


def matrices(model: PreTrainedModel, location: Location) -> tuple[Matrix, ...]:
    """The matrices of a location, layer by layer; those in a fused tensor are separate."""
    of_location: list[Matrix] = []
    for layer in range(location.lowest, location.highest + 1):
        inside = f"{blocks_path(model)}.{layer}."
        mine = [piece for piece in slices(model, location) if piece.name.startswith(inside)]
        of_location.extend(_of_layer(model, layer, mine))
    return tuple(of_location)


def blocks_path(model: PreTrainedModel) -> str:
    """The path of the list of layers: the beginning of its parameters' names."""
    return family_of(model).blocks


def leaves_of(model: PreTrainedModel, layer: int) -> tuple[Matrix, ...]:
    """Every matrix of a layer, without its norms.

    Raises UsageError for a layer of experts, whose matrices are stacked in one tensor.
    """
    if is_mixture(blocks(model)[layer], family_of(model)):
        raise UsageError(
            f"layer {layer} is a mixture of experts, of which this takes single matrices: tune it "
            "with the recipe full or lora"
        )
    names = [part for part in parts(model) if "." in part]
    return tuple(Matrix(layer, p, slices(model, Location.at(layer, p))) for p in names)


def outputs_axis(model: PreTrainedModel, piece: Slice) -> int:
    """The axis of a parameter along which its outputs (rows) lie."""
    dims = as_rows(model.get_parameter(piece.name)).dim()
    return dims - 1 if family_of(model).transposed else 0


def rows(model: PreTrainedModel, piece: Slice, chosen: Sequence[int]) -> Slice:
    """Some rows (outputs) of a slice, numbered within it; it must not be cut along its inputs."""
    weight, axis = as_rows(model.get_parameter(piece.name)), outputs_axis(model, piece)
    assert piece.axis in (None, axis), f"{piece} is cut along its inputs"
    spans = piece.ranges or ((0, weight.shape[axis]),)
    numbers = [n for first, last in spans for n in range(first, last)]
    return _along(piece.name, weight, axis, _runs([numbers[i] for i in sorted(chosen)]))


def row_count(model: PreTrainedModel, piece: Slice) -> int:
    """Rows (outputs) of a slice that is not cut along its inputs."""
    whole = as_rows(model.get_parameter(piece.name)).shape[outputs_axis(model, piece)]
    return sum(last - first for first, last in piece.ranges or ((0, whole),))


def as_matrix(
    model: PreTrainedModel, piece: Slice, flat: Float[Tensor, " count"]
) -> Float[Tensor, "outputs inputs"]:
    """Values in the order of `take` as (outputs, inputs), whichever way the model keeps them."""
    shape = as_rows(model.get_parameter(piece.name)).shape
    if piece.axis == 1:
        widths = [shape[0] * (last - first) for first, last in piece.ranges]
        # `take` puts range after range, each row-major: columns are no plain view of the values.
        blocks = [block.view(shape[0], -1) for block in flat.split(widths)]
        stored = torch.cat(blocks, dim=1)
    else:
        stored = flat.view(-1, shape[1])
    return stored.T if family_of(model).transposed else stored


def as_flat(
    model: PreTrainedModel, piece: Slice, matrix: Float[Tensor, "outputs inputs"]
) -> Float[Tensor, " count"]:
    """The inverse of `as_matrix`."""
    stored = matrix.T if family_of(model).transposed else matrix
    if piece.axis != 1:
        return stored.reshape(-1)
    widths = [last - first for first, last in piece.ranges]
    return torch.cat([block.reshape(-1) for block in stored.split(widths, dim=1)])


def _of_layer(model: PreTrainedModel, layer: int, mine: Sequence[Slice]) -> list[Matrix]:
    named = {piece.name: piece for piece in mine}
    in_layer: list[Matrix] = []
    leaves = leaves_of(model, layer)
    for leaf in leaves:
        both = [_overlap(model, p, named[p.name]) for p in leaf.slices if p.name in named]
        inside = tuple(piece for piece in both if piece.count)
        if inside:
            in_layer.append(Matrix(layer, leaf.part, inside))
    # What no matrix has taken is a norm: its parameters share a module.
    taken = {piece.name for leaf in leaves for piece in leaf.slices}
    norms: dict[str, list[Slice]] = {}
    for piece in mine:
        if piece.name not in taken:
            norms.setdefault(piece.name.rpartition(".")[0], []).append(piece)
    return [*in_layer, *(Matrix(layer, OTHER, tuple(its)) for its in norms.values())]


def _overlap(model: PreTrainedModel, left: Slice, right: Slice) -> Slice:
    """What two slices of a parameter share. Both are whole or cut along the same axis."""
    if left.axis is None or right.axis is None:
        return right if left.axis is None else left
    spans = [
        (max(a, c), min(b, d))
        for a, b in left.ranges
        for c, d in right.ranges
        if max(a, c) < min(b, d)
    ]
    weight = as_rows(model.get_parameter(left.name))
    return _along(left.name, weight, left.axis, sorted(spans))


def _along(name: str, weight: Tensor, axis: int, spans: Sequence[tuple[int, int]]) -> Slice:
    length = sum(last - first for first, last in spans)
    return Slice(name, axis, tuple(spans), weight.numel() // weight.shape[axis] * length)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Half-open ranges of sorted numbers, neighbours joined."""
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n:
            runs[-1] = (runs[-1][0], n + 1)
        else:
            runs.append((n, n + 1))
    return runs
