import pytest
import torch
from reference.plain_loop import plain_gradients
from worlds import frozen, prefix_cache_of, rows_of

from locscope.forward.prefix_cache import Budget
from locscope.interp.gradients import layer_groups, requiring_grad, slopes, units_of, weights_of
from locscope.locations import Location
from locscope.models.parts import blocks, take


@pytest.mark.parametrize(
    ("room", "groups"),
    [
        (0, ((0,), (2,), (3,))),
        (1, ((0,), (2,), (3,))),
        (2, ((0, 2), (3,))),
        (3, ((0, 2, 3),)),
        (99, ((0, 2, 3),)),
    ],
)
def test_as_many_layers_go_together_as_fit(room, groups):
    model = frozen("llama", num_hidden_layers=4)
    size = 7 * sum(p.numel() for p in blocks(model)[0].parameters())
    assert layer_groups(model, [3, 0, 2], Budget(device=room * size + 5), 7) == groups


def test_weights_ask_for_gradients_only_within_the_block():
    model = frozen("llama")
    weights = weights_of(model, [1])
    first = next(iter(weights.values())).requires_grad_(True)
    with requiring_grad(weights):
        inside = {id(p) for p in model.parameters() if p.requires_grad}
        assert inside == {id(p) for p in blocks(model)[1].parameters()}
    assert [p for p in model.parameters() if p.requires_grad] == [first]


@pytest.mark.parametrize("place", ["L0.block", "L1.attn.k", "L1.mlp.up+L2.attn.q"])
@pytest.mark.parametrize("family", ["gemma2", "phi3", "gpt2", "gptneox", "qwen3"])
def test_slopes_are_products_of_signs_and_single_gradients(family, place):
    """Parts of fused matrices, biases, and norms that scale by one more than their weight."""
    model, location = frozen(family), Location.parse(place)
    prefix_cache, rows, units = prefix_cache_of(model), rows_of(model), units_of(model, location)
    weights = weights_of(model, range(3))
    draw = torch.Generator().manual_seed(0)
    signs = {
        name: torch.randint(-1, 2, w.shape, generator=draw, dtype=torch.int8)
        for name, w in weights.items()
    }
    prefix_cache.enter(location.lowest)
    found = slopes(prefix_cache, range(len(rows)), units, signs)
    for i, row in enumerate(rows):
        gradients = plain_gradients(model, list(weights), [row])
        for j, unit in enumerate(units):
            expected = 0.0
            for piece in unit:
                product = gradients[piece.name] * signs[piece.name]
                expected += float(take(product, piece).sum())
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-4, abs=1e-3), unit
