from dataclasses import replace
from functools import partial

import pytest
import torch
from reference.plain_loop import plain_breadth_first, plain_depth_first
from worlds import PAIRS, frozen, prefix_cache_of, rows_of, same, snapshot, tune_in_place

from locscope.locations import Location
from locscope.models.parts import slices
from locscope.records import Recipe, default_batch
from locscope.tuning import breadth_first
from locscope.tuning.master_weights import MasterWeights, temporarily_trainable
from locscope.tuning.orders import depth_first, order_of

ROWS = tuple(range(len(PAIRS)))
TWO_EPOCHS = Recipe(lr=3e-3, batch=3, epochs=2)


def tuned(family, location, recipe, tuner=breadth_first.tune, seed=5, **settings):
    """The model that was tuned, for good, and its epochs."""
    model, place = frozen(family), Location.parse(location)
    prefix_cache = prefix_cache_of(model, **settings)
    prefix_cache.enter(place.lowest)
    found = slices(model, place)
    for piece in found:
        model.get_parameter(piece.name).requires_grad_(True)
    epochs = tuner(prefix_cache, MasterWeights(model, found, torch.float32), ROWS, recipe, seed)
    return model.requires_grad_(False), epochs


def worst_difference(one, two):
    """Keys' biases apart: they have no gradient but rounding, whose sign Adam follows."""
    pairs = zip(one.named_parameters(), two.parameters(), strict=True)
    return max(
        float((a - b).norm() / b.norm())
        for (name, a), b in pairs
        if not name.endswith("c_attn.bias")
    )


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
@pytest.mark.parametrize("location", ["L1.mlp", "L2.block", "L0.attn+L2.mlp.down"])
def test_two_epochs_equal_the_plain_loop(family, location):
    mine, epochs = tuned(family, location, TWO_EPOCHS)
    theirs = frozen(family)
    names = [piece.name for piece in slices(theirs, Location.parse(location))]
    before = snapshot(theirs)
    expected = plain_breadth_first(theirs, names, rows_of(theirs), TWO_EPOCHS, seed=5)
    assert not same(theirs, before)
    assert worst_difference(mine, theirs) < 1e-5
    assert [(e.steps, e.skipped) for e in epochs] == [(e.steps, e.skipped) for e in expected]
    assert [e.loss for e in epochs] == pytest.approx([e.loss for e in expected], rel=1e-4)


def test_skipping_and_stopping_are_those_of_the_plain_loop():
    usual = Recipe(lr=1.0, batch=1)
    assert (usual.skip_below, usual.stop_below, usual.epochs) == (
        1e-2,
        1e-2,
        25,
    )
    # So wide a model cannot get below 0.4 nats: the thresholds are raised.
    recipe = Recipe(lr=1e-2, batch=2, epochs=40, skip_below=0.7, stop_below=0.7)
    _, epochs = tuned("llama", "L1.mlp", recipe)
    theirs = frozen("llama")
    names = [piece.name for piece in slices(theirs, Location.parse("L1.mlp"))]
    expected = plain_breadth_first(theirs, names, rows_of(theirs), recipe, seed=5)
    assert sum(e.skipped for e in epochs) > 0, "some batches were skipped"
    assert epochs[-1].loss < 0.7 <= epochs[-2].loss, "stopped at once"
    assert len(epochs) < 40
    assert [(e.steps, e.skipped) for e in epochs] == [(e.steps, e.skipped) for e in expected]


def test_a_skipped_batch_changes_nothing():
    recipe = replace(TWO_EPOCHS, skip_below=1e9)
    model, epochs = tuned("llama", "L1.mlp", recipe)
    assert same(model, snapshot(frozen("llama")))
    assert [(e.steps, e.skipped) for e in epochs] == [(0, 3), (0, 3)]
    assert all(p.grad is None for p in model.parameters())


def test_same_seed_same_weights_and_another_seed_others():
    one, _ = tuned("llama", "L1.mlp", TWO_EPOCHS, seed=1)
    two, _ = tuned("llama", "L1.mlp", TWO_EPOCHS, seed=1)
    other, _ = tuned("llama", "L1.mlp", TWO_EPOCHS, seed=2)
    assert same(one, snapshot(two))
    assert not same(one, snapshot(other))


def test_pieces_of_a_batch_give_the_same_step():
    whole, epochs = tuned("llama", "L1.mlp", TWO_EPOCHS)
    pieces, same_epochs = tuned("llama", "L1.mlp", TWO_EPOCHS, tokens_at_once=8)
    assert worst_difference(pieces, whole) < 1e-5
    assert [e.loss for e in epochs] == pytest.approx([e.loss for e in same_epochs], rel=1e-5)


def test_depth_first_equals_its_plain_loop():
    recipe = Recipe(lr=3e-3, batch=1, order="depth-first", epochs=4, stop_below=1.0)
    mine, epochs = tuned("llama", "L1.mlp", recipe, depth_first)
    theirs = frozen("llama")
    names = [piece.name for piece in slices(theirs, Location.parse("L1.mlp"))]
    plain_depth_first(theirs, names, rows_of(theirs), recipe, seed=5)
    assert len(epochs) == len(ROWS)
    assert worst_difference(mine, theirs) < 1e-5
    assert order_of(recipe) is depth_first


def test_tuning_goes_on_to_the_end_when_the_weights_have_blown_up():
    model = frozen("llama")
    epochs = tune_in_place(model, "L1.mlp", Recipe(lr=1e30, batch=2, epochs=5))
    assert epochs[-1].loss != epochs[-1].loss
    assert len(epochs) < 5


def test_a_lost_model_is_given_up_and_nobody_asks_after_the_last_epoch():
    recipe = Recipe(lr=1e-4, batch=3, epochs=10, stop_below=0.0)
    asked = []
    for answer, epochs in ((True, 5), (False, 10)):
        collapsed = lambda: asked.append(0) or answer  # noqa: B023, E731
        found = tuned("llama", "L1.mlp", recipe, partial(breadth_first.tune, collapsed=collapsed))[
            1
        ]
        assert len(found) == epochs
    assert len(asked) == 2


def test_only_the_selected_weights_change():
    model, before = frozen("gpt2"), snapshot(frozen("gpt2"))
    tune_in_place(model, "L1.attn.h2", TWO_EPOCHS)
    changed = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    prefix = "transformer.h.1.attn"
    assert changed == {
        f"{prefix}.c_attn.weight",
        f"{prefix}.c_attn.bias",
        f"{prefix}.c_proj.weight",
    }
    now = model.get_parameter(f"{prefix}.c_proj.weight")
    rows = (now != before[f"{prefix}.c_proj.weight"]).any(1).nonzero()[:, 0].tolist()
    assert rows == list(range(16, 24))


def test_the_model_holds_the_masters_as_they_will_be_stored():
    model = frozen("llama", torch.bfloat16).float()
    prefix_cache, found = prefix_cache_of(model), slices(model, Location.parse("L1.mlp"))
    prefix_cache.enter(1)
    with temporarily_trainable(model, found, torch.bfloat16) as masters:
        breadth_first.tune(prefix_cache, masters, ROWS, TWO_EPOCHS, 0)
        changes = masters.changes()
        for piece, value in zip(found, masters.values, strict=True):
            held = model.get_parameter(piece.name).flatten()
            assert value.dtype == held.dtype == torch.float32
            assert torch.equal(held, value.bfloat16().float())
            assert not torch.equal(held, value), "master weights keep what rounding loses"
            assert changes[piece].dtype == torch.bfloat16
            assert torch.equal(changes[piece].float(), held)


@pytest.mark.parametrize("fails", [False, True])
def test_weights_and_gradients_come_back(fails):
    model = frozen("phi3")
    before, prefix_cache = snapshot(model), prefix_cache_of(model)
    prefix_cache.enter(1)
    found = slices(model, Location.parse("L1.attn.q+L1.mlp.gate"))
    model.get_parameter(found[0].name).requires_grad_(True)
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        with temporarily_trainable(model, found, torch.float32) as masters:
            breadth_first.tune(prefix_cache, masters, ROWS, TWO_EPOCHS, 0)
            assert not same(model, before)
            if fails:
                raise RuntimeError("as it may happen")
    except RuntimeError:
        assert fails
    assert same(model, before)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == wanted
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("edits", "batch"), [(1, 8), (40, 10), (120, 30), (1000, 100)])
def test_the_default_batch(edits, batch):
    assert default_batch(edits) == batch


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([1.0, 0.5], False),
        ([1.0, 0.009], True),
        ([1.0, float("nan")], True),
        ([1.0, float("inf")], True),
        ([1.0, 3.0, 2.0, 1.5, 1.2], False),
        ([1.0, 3.0, 2.0, 1.5, 1.2, 1.0], True),
        ([1.0, 3.0, 2.0, 1.5, 1.2, 0.9], False),
    ],
)
def test_tuning_ends_when_it_has_learned_or_does_not_learn(losses, ends):
    assert breadth_first._ends(losses, Recipe(lr=1e-3, batch=3)) is ends
