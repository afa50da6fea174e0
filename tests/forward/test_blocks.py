import pytest
import torch
from families import ALL, MIXTURES
from reference.plain_loop import plain_gradients
from worlds import PAIRS, frozen, prefix_cache_of, rows_of

from locscope.forward.blocks import run_blocks
from locscope.forward.head import answer_losses, logits
from locscope.locations import Location
from locscope.models.parts import blocks, parts, slices, take
from locscope.tuning.master_weights import temporarily_trainable

EVERY = pytest.mark.parametrize("family", ALL)
SIDES = {"right": 2e-6, "left": 3e-6}
"""Largest relative difference. Two plain float32 loops that pad on either side differ by up to
1.6e-6 on these models (by rounding: positions and masks are the same)."""


@EVERY
def test_blocks_from_any_layer_give_the_models_own_logits(family):
    model = frozen(family)
    ids = torch.randint(3, 300, (3, 11), generator=torch.Generator().manual_seed(0))
    wanted = model(ids, use_cache=False).logits
    own = list(blocks(model))
    for layer in range(len(own)):
        hidden = run_blocks(model, ids, 0, None, layer) if layer else None
        found = logits(model, run_blocks(model, ids, layer, hidden))
        assert torch.allclose(found, wanted, rtol=0, atol=1e-6)
    assert list(blocks(model)) == own


def test_the_models_own_blocks_come_back_after_an_error():
    model = frozen("llama")
    own = list(blocks(model))
    with pytest.raises(IndexError):
        run_blocks(model, torch.full((1, 3), 9999))
    assert list(blocks(model)) == own


@EVERY
@pytest.mark.parametrize("layer", [0, 1, -1])
def test_the_first_gradient_is_that_of_a_plain_full_forward(family, layer):
    model = frozen(family)
    layer %= len(blocks(model))
    rows, prefix_cache = rows_of(model), prefix_cache_of(model)
    assert len({len(row.ids) for row in rows}) > 3, "texts of different lengths"
    assert max(len(row.ids) for row in rows) > 4, "longer than the window"
    names = [piece.name for piece in slices(model, Location.at(layer, "block"))]
    plain = {side: plain_gradients(model, names, rows, side) for side in SIDES}
    prefix_cache.enter(layer)
    heads = [] if family == "deepseek" else ["attn.h1"]
    dense = family not in MIXTURES or (family == "deepseek" and layer == 0)
    experts = [] if dense else ["mlp.expert1", "mlp.expert2.down"]
    some = [part for part in parts(model) if not (dense and "shared" in part)]
    for part in (*some, *heads, *experts):
        found = slices(model, Location.parse(f"L{layer}.{part}"))
        with temporarily_trainable(model, found, torch.float32) as masters:
            answer_losses(prefix_cache, prefix_cache.batch(range(len(PAIRS)))).mean().backward()
            masters.collect_gradients()
            mine = torch.cat([value.grad for value in masters.values])
        for side, most in SIDES.items():
            theirs = torch.cat([take(plain[side][piece.name], piece) for piece in found])
            difference = float((mine - theirs).double().norm() / theirs.double().norm())
            assert difference <= most, f"{part}, padded {side}: {difference:.1e}"
