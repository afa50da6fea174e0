"""A location as matrices, for tensors of every layout."""

import pytest
import torch
from families import CONFIGS
from worlds import frozen

from locscope.locations import Location
from locscope.models.parts import parts, put, slices, take
from locscope.tuning.matrices import as_flat, as_matrix, matrices, row_count, rows


def covered(model, found):
    """How often each element is in the slices."""
    counts = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for piece in found:
        put(counts[piece.name], piece, take(counts[piece.name], piece) + 1)
    return counts


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(
    "location", ["L1.block", "L0-2.attn", "L1.mlp+L2.attn.h1", "L1.attn.q+L1.attn.h3+L1.attn.v"]
)
def test_matrices_are_the_location_each_weight_once(family, location):
    model, place = frozen(family), Location.parse(location)
    found = matrices(model, place)
    mine = covered(model, [piece for matrix in found for piece in matrix.slices])
    theirs = covered(model, slices(model, place))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert {matrix.category for matrix in found} <= {"attn", "mlp", "norm"}


@pytest.mark.parametrize("family", CONFIGS)
def test_a_part_is_one_matrix_of_its_outputs_and_inputs(family):
    model = frozen(family)
    for part in [part for part in parts(model) if "." in part]:
        (matrix,) = matrices(model, Location.at(1, part))
        assert matrix.part == part
        piece = matrix.slices[0]
        values = take(model.get_parameter(piece.name), piece)
        found = as_matrix(model, piece, values)
        assert found.shape[0] == row_count(model, piece)
        assert found.shape[1] == (48 if part == "mlp.down" else 32) or part == "attn.o"
        assert torch.equal(as_flat(model, piece, found), values)
        some = rows(model, piece, [0, 2, 3, 7])
        own = as_matrix(model, some, take(model.get_parameter(some.name), some))
        assert torch.equal(own, found[[0, 2, 3, 7]])
        for bias in matrix.slices[1:]:
            its = take(model.get_parameter(bias.name), bias)
            few = rows(model, bias, [0, 2, 3, 7])
            assert torch.equal(take(model.get_parameter(few.name), few), its[[0, 2, 3, 7]])


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_columns_of_scattered_heads_are_one_matrix(family):
    model = frozen(family)
    found = slices(model, Location.parse("L1.attn.h0+L1.attn.h2"))
    outputs = ("self_attn.o_proj.weight", "attn.c_proj.weight")
    (weight,) = [piece for piece in found if piece.name.endswith(outputs)]
    whole = model.get_parameter(weight.name)
    whole = whole.T if family == "gpt2" else whole
    matrix = as_matrix(model, weight, take(model.get_parameter(weight.name), weight))
    assert torch.equal(matrix, torch.cat([whole[:, :8], whole[:, 16:24]], dim=1))
    assert torch.equal(
        as_flat(model, weight, matrix), take(model.get_parameter(weight.name), weight)
    )
