"""Every recipe against a slow plain loop, and what they all promise."""

from dataclasses import replace

import pytest
import torch
from reference.plain_loop import HandAdam, plain_gradients
from reference.plain_recipes import Added, batches, plain_masked, plain_trained
from torch import nn
from torch.nn.utils import parametrize
from worlds import EDITS, PAIRS, frozen, prefix_cache_of, rows_of, same, snapshot, world

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.parts import Slice, blocks, grid, put, slices, take
from locscope.records import Recipe, Trial, dumps, loads
from locscope.records import TrialRecord as Record
from locscope.tuning import breadth_first
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import MasterWeights, temporarily_trainable
from locscope.tuning.recipes import CAUTION, NO_RATE_HINT, RECIPES
from locscope.tuning.recipes.lofit import unbiased
from locscope.tuning.trainable import RecipeInput, lowest_layer, tuned_parts_of
from locscope.tuning.trial import gradient_l1, run_trial, starting_rate

ROWS = tuple(range(len(PAIRS)))
TWO_EPOCHS = Recipe(lr=3e-3, batch=3, epochs=2, skip_below=0.0, stop_below=0.0)
FUSED = ("llama", "gpt2", "phi3", "gptneox")
RANDOM = ("half", "budget", "lora")
MASKED = [kind for kind in RECIPES if kind not in ("lora", "lofit")]


def recipe_input(model, kind, location, seed=5, rank=0):
    packed = prefix_cache_of(model).packed
    recipe = replace(TWO_EPOCHS, kind=kind, rank=rank)
    importances = Importances(model, packed, ROWS)
    return RecipeInput(model, Location.parse(location), recipe, seed, importances)


def planned(model, kind, location, **more):
    return tuned_parts_of(recipe_input(model, kind, location, **more))


def tuned(model, parts, recipe=TWO_EPOCHS, seed=5):
    """Tunes for good; every weight of every tuned slice, as the model then holds it."""
    prefix_cache = prefix_cache_of(model)
    prefix_cache.enter(lowest_layer(model, parts))
    with temporarily_trainable(model, parts, torch.float32) as masters:
        breadth_first.tune(prefix_cache, masters, ROWS, recipe, seed)
        changes = masters.changes()
    for piece, values in changes.items():
        if piece.name in dict(model.named_parameters()):
            put(model.get_parameter(piece.name), piece, values)
    return changes


def masks_of(model, parts):
    """How far each element of each parameter goes with its master."""
    masks = {}
    for part in parts:
        piece = part if isinstance(part, Slice) else part.slice
        share = torch.ones(piece.count)
        if not isinstance(part, Slice):
            (start,) = part.start
            share = part.weights(start + 1) - part.weights(start)
        weight = model.get_parameter(piece.name)
        put(masks.setdefault(piece.name, torch.zeros_like(weight)), piece, share)
    return masks


def worst_difference(one, two, names):
    """Keys' biases apart: they have no gradient but rounding, whose sign Adam follows."""
    return max(
        float((one.get_parameter(n) - two.get_parameter(n)).norm() / two.get_parameter(n).norm())
        for n in names
        if not n.endswith(("c_attn.bias", "query_key_value.bias", "k_proj.bias"))
    )


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("location", ["L1.mlp", "L1.attn", "L1.mlp.up+L2.attn.q"])
@pytest.mark.parametrize("kind", MASKED)
def test_two_epochs_equal_the_plain_loop(family, location, kind):
    mine, theirs = frozen(family), frozen(family)
    parts = planned(mine, kind, location)
    masks = masks_of(theirs, parts)
    tuned(mine, parts)
    plain_masked(theirs, masks, rows_of(theirs), TWO_EPOCHS, seed=5)
    names = [name for name, _ in theirs.named_parameters()]
    assert not same(theirs, snapshot(frozen(family)))
    # Among all weights there are some of so small a gradient that rounding decides Adam's steps.
    assert worst_difference(mine, theirs, names) < (1e-4 if kind == "all" else 1e-5)


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize(
    "location", ["L1.mlp.down", "L1.attn.q", "L1.attn.h2", "L2.block", "L0-1.mlp"]
)
def test_half_freezes_half_of_every_category(family, location):
    model = frozen(family)
    place = slices(model, Location.parse(location))
    total = sum(piece.count for piece in place)
    inside = {
        p.name: take(_ones_at(model, p), Slice(p.name, None, (), _size(model, p))) for p in place
    }
    shares = []
    for seed in range(8):
        masks = masks_of(model, planned(model, "half", location, seed=seed))
        for name, mask in masks.items():
            assert not (mask.flatten() > inside[name]).any(), "outside the location"
        shares.append(sum(float(mask.sum()) for mask in masks.values()) / total)
    if location in ("L1.mlp.down", "L1.attn.q"):
        assert shares == [0.5] * 8
    assert 0.3 < sum(shares) / 8 < 0.7
    assert len({str(planned(model, "half", location, seed=s)) for s in range(8)}) > 1


def _size(model, piece):
    return model.get_parameter(piece.name).numel()


def _ones_at(model, piece):
    ones = torch.zeros_like(model.get_parameter(piece.name))
    put(ones, piece, torch.ones(piece.count))
    return ones


def test_half_of_attention_is_two_of_its_four_matrices_and_fused_ones_count_apart():
    model = frozen("gpt2")
    seen = set()
    for seed in range(20):
        masks = masks_of(model, planned(model, "half", "L1.attn", seed=seed))
        fused = masks.get("transformer.h.1.attn.c_attn.weight", torch.zeros(32, 96))
        thirds = [bool(third.all()) for third in fused.split(32, dim=1)]
        assert thirds == [bool(third.any()) for third in fused.split(32, dim=1)]
        out = "transformer.h.1.attn.c_proj.weight" in masks
        assert sum(thirds) + out == 2
        seen.add((*thirds, out))
    assert len(seen) == 6


def test_half_freezes_one_or_two_of_a_gated_mlp_each_in_half_of_the_layers():
    model = frozen("llama", num_hidden_layers=4)
    for seed in range(5):
        parts = planned(model, "half", "L0-3.mlp", seed=seed)
        names = [part.name for part in parts]
        counts = sorted(sum(f"layers.{n}." in name for name in names) for n in range(4))
        assert counts == [1, 1, 2, 2]


@pytest.mark.parametrize("family", FUSED)
def test_smallest_are_the_smallest_of_every_tensor_with_their_own_sign(family):
    model = frozen(family)
    parts = planned(model, "smallest", "L1.mlp")
    for part in parts:
        values = take(model.get_parameter(part.slice.name), part.slice)
        (start,) = part.start
        expected = values.abs().sort().values[: max(1, round(0.2 * len(values)))]
        assert torch.equal(start.abs().sort().values, expected)
        assert torch.equal(part.weights(start), values)
        assert (start < 0).any()


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("location", ["L1.mlp", "L2.attn.h1", "L0-2.block", "L1.mlp.down"])
def test_budget_has_exactly_as_many_weights_as_the_location(family, location):
    model = frozen(family)
    wanted = sum(piece.count for piece in slices(model, Location.parse(location)))
    places = set()
    for seed in range(4):
        parts = planned(model, "budget", location, seed=seed)
        masks = masks_of(model, parts)
        assert sum(int(mask.sum()) for mask in masks.values()) == wanted
        partly = [name for name, mask in masks.items() if not mask.all()]
        assert len(partly) <= 1
        layers = {int(name.split(".")[2]) for name in masks}
        assert lowest_layer(model, parts) == min(layers)
        places.add(frozenset(masks))
    assert len(places) == (1 if location == "L0-2.block" else 4)


@pytest.mark.parametrize("family", FUSED)
def test_all_has_every_weight_of_every_block(family):
    model = frozen(family)
    parts = planned(model, "all", "L1.mlp.down")
    assert lowest_layer(model, parts) == 0
    every = {
        f"{n}" for n, p in model.named_parameters() for b in blocks(model).parameters() if p is b
    }
    assert {piece.name for piece in parts} == every
    total = sum(one.parameters for one in grid(model) if one.part == "block")
    assert sum(piece.count for piece in parts) == total


def test_soft_holds_units_back_by_rows_and_heads():
    """By hand, element by element, for separate and for fused tensors."""
    llama, gpt2, phi3 = frozen("llama"), frozen("gpt2"), frozen("phi3")
    for model, gate, up, down in (
        (llama, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        (phi3, "mlp.gate_up_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    ):
        here = recipe_input(model, "soft", "L1.mlp")
        units, masks = here.importances.of([1]), masks_of(model, tuned_parts_of(here))
        its = {
            k.removeprefix("model.layers.1.").removesuffix(".weight"): v for k, v in masks.items()
        }
        fused = gate == up
        for i in range(48):
            assert torch.allclose(its[gate][i], 1 - units[1, "mlp.up"][i], atol=1e-5)
            assert torch.allclose(its[up][i + 48 * fused], 1 - units[1, "mlp.up"][i], atol=1e-5)
        for i in range(32):
            assert torch.allclose(its[down][i], 1 - units[1, "mlp.down"][i], atol=1e-5)
    here = recipe_input(gpt2, "soft", "L1.attn")
    units, masks = here.importances.of([1]), masks_of(gpt2, tuned_parts_of(here))
    fused, out = (masks[f"transformer.h.1.attn.{n}.weight"] for n in ("c_attn", "c_proj"))
    for head in range(4):
        own = slice(8 * head, 8 * head + 8)
        for third in range(3):
            rows = slice(32 * third + own.start, 32 * third + own.stop)
            assert torch.allclose(fused[:, rows], 1 - units[1, "attn.o"][head], atol=1e-5)
            bias = masks["transformer.h.1.attn.c_attn.bias"][rows]
            assert torch.allclose(bias, 1 - units[1, "attn.o"][head], atol=1e-5)
        assert torch.allclose(out[own], 1 - units[1, "attn.o"][head], atol=1e-5)
    assert torch.allclose(masks["transformer.h.1.attn.c_proj.bias"], torch.ones(32))
    here = recipe_input(llama, "soft", "L1.block")
    units, masks = here.importances.of([1]), masks_of(llama, tuned_parts_of(here))
    for head in range(2):
        shared = 1 - units[1, "attn.o"][2 * head : 2 * head + 2].max()
        for name in ("k_proj", "v_proj"):
            rows = masks[f"model.layers.1.self_attn.{name}.weight"][8 * head : 8 * head + 8]
            assert torch.allclose(rows, shared, atol=1e-5)
    assert torch.allclose(masks["model.layers.1.input_layernorm.weight"], torch.ones(32))


def test_soft_moves_important_units_less():
    model = frozen("llama")
    here = recipe_input(model, "soft", "L1.mlp.up")
    before = model.get_parameter("model.layers.1.mlp.up_proj.weight").clone()
    tuned(model, tuned_parts_of(here))
    moved = (model.get_parameter("model.layers.1.mlp.up_proj.weight") - before).norm(dim=1)
    order = here.importances.of([1])[1, "mlp.up"].argsort()
    assert moved[order[-5:]].mean() < 0.7 * moved[order[:5]].mean()


def test_a_mask_on_gradients_would_do_nothing_under_adam():
    """Why the mask is on the step."""
    free, masked = frozen("llama"), frozen("llama")
    name = "model.layers.1.mlp.up_proj.weight"
    mask = torch.linspace(0.05, 1, 48)[:, None]
    for model, factor in ((free, 1.0), (masked, mask)):
        adam = HandAdam({name: model.get_parameter(name)}, TWO_EPOCHS.lr)
        for batch in batches(rows_of(model), TWO_EPOCHS, 5):
            adam.step({name: factor * plain_gradients(model, [name], batch)[name]})
    assert worst_difference(masked, free, [name]) < 1e-4


LORA = [
    ("llama", "L1.mlp", None),
    ("gpt2", "L1.mlp+L2.attn", None),
    ("phi3", "L1.mlp", None),
    ("gptneox", "L2.block", None),
]


@pytest.mark.parametrize(("family", "location", "rank"), [*LORA, ("llama", "L1.mlp", 3)])
def test_lora_is_that_of_peft(family, location, rank):
    peft = pytest.importorskip("peft")
    mine, theirs = frozen(family), frozen(family)
    parts = planned(mine, "lora", location, rank=rank or 0)
    names = [part.slice.name.removesuffix(".weight") for part in parts]
    config = peft.LoraConfig(
        target_modules=names,
        fan_in_fan_out=family == "gpt2",
        **({"r": rank, "lora_alpha": rank} if rank else {}),
    )
    wrapped = peft.get_peft_model(theirs, config)
    for name, part in zip(names, parts, strict=True):
        layer = theirs.get_submodule(name)
        assert layer.lora_A["default"].weight.shape == part.start[0].shape
        assert not layer.lora_B["default"].weight.any()
        assert not part.start[1].any()
        bound = layer.lora_A["default"].weight.detach().abs().max()
        assert part.start[0].abs().max() == pytest.approx(float(bound), rel=0.2)
        layer.lora_A["default"].weight.data.copy_(part.start[0])
    learned = [p for p in wrapped.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learned) == sum(v.numel() for p in parts for v in p.start)
    plain_trained(theirs, learned, rows_of(theirs), TWO_EPOCHS, seed=5)
    merged = wrapped.merge_and_unload()
    before = snapshot(mine)
    tuned(mine, parts)
    changed = {n for n, p in mine.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {f"{name}.weight" for name in names}
    assert worst_difference(mine, merged, [n for n, _ in mine.named_parameters()]) < 1e-5


SLICED = [
    ("gpt2", "L1.attn.q", "transformer.h.1.attn.c_attn", lambda w: w.T[:32], "rows"),
    ("gpt2", "L1.attn.v", "transformer.h.1.attn.c_attn", lambda w: w.T[64:], "rows"),
    ("phi3", "L1.mlp.up", "model.layers.1.mlp.gate_up_proj", lambda w: w[48:], "rows"),
    ("gptneox", "L1.attn.k", "gpt_neox.layers.1.attention.query_key_value", None, "rows"),
]


@pytest.mark.parametrize(("family", "location", "path", "view", "_"), SLICED)
def test_lora_of_a_part_of_a_fused_tensor(family, location, path, view, _):
    mine, theirs = frozen(family), frozen(family)
    parts = planned(mine, "lora", location)
    (part,) = parts
    a, b = (nn.Parameter(value.clone()) for value in part.start)

    def chosen(weight):
        if view is not None:
            return view(weight)
        heads = [weight[24 * head + 8 : 24 * head + 16] for head in range(4)]
        return torch.cat(heads)

    def added(weight):
        where = chosen(torch.arange(weight.numel()).view(weight.shape))
        return (
            torch.zeros(weight.numel())
            .index_put((where.flatten(),), (b @ a).flatten())
            .view(weight.shape)
        )

    module = theirs.get_submodule(path)
    parametrize.register_parametrization(module, "weight", Added(added))
    plain_trained(theirs, [a, b], rows_of(theirs), TWO_EPOCHS, seed=5)
    parametrize.remove_parametrizations(module, "weight")
    tuned(mine, parts)
    assert b.abs().max() > 0
    assert worst_difference(mine, theirs, [f"{path}.weight"]) < 1e-5


@pytest.mark.parametrize("family", [*FUSED, "gemma2"])
@pytest.mark.parametrize("location", ["L1.attn.h2", "L1.mlp+L2.attn.h0+L2.attn.h3"])
def test_lofit_adds_a_vector_to_what_heads_put_out(family, location):
    mine, theirs = frozen(family), frozen(family)
    parts = planned(mine, "lofit", location)
    heads = {1: [2]} if location == "L1.attn.h2" else {1: [0, 1, 2, 3], 2: [0, 3]}
    names = {
        "gpt2": "transformer.h.{}.attn.c_proj",
        "gptneox": "gpt_neox.layers.{}.attention.dense",
    }
    path = names.get(family, "model.layers.{}.self_attn.o_proj")
    offsets = {layer: nn.Parameter(torch.zeros(len(its), 8)) for layer, its in heads.items()}
    hooks = []
    for layer, its in heads.items():

        def add(_, inputs, layer=layer, its=its):
            z = inputs[0].unflatten(-1, (4, -1)).clone()
            z[..., its, :] = z[..., its, :] + offsets[layer]
            return (z.flatten(-2),)

        hooks.append(theirs.get_submodule(path.format(layer)).register_forward_pre_hook(add))
    plain_trained(theirs, list(offsets.values()), rows_of(theirs), TWO_EPOCHS, seed=5)
    before = snapshot(mine)
    changes = tuned(mine, parts)
    assert [piece.name for piece in changes] == [f"{path.format(n)}.bias" for n in heads]
    for layer, values in zip(heads, changes.values(), strict=True):
        weight = theirs.get_submodule(path.format(layer)).weight.detach()
        weight = weight.T if family == "gpt2" else weight
        columns = weight.unflatten(1, (4, -1))[:, heads[layer]]
        bias = before.get(f"{path.format(layer)}.bias", torch.zeros(32))
        expected = bias + torch.einsum("whd,hd->w", columns, offsets[layer].detach())
        assert float((values - expected).norm() / expected.norm()) < 1e-5
    lent = family not in ("gpt2", "gptneox")
    assert len(unbiased(mine, Location.parse(location))) == (len(heads) if lent else 0)
    assert snapshot(mine).keys() == before.keys()


TRIAL = Trial(
    location=Location.parse("L1.mlp"),
    recipe=Recipe(lr=1e-2, batch=2, epochs=3),
    edits=tuple(edit.id for edit in EDITS),
    split="S",
    rung="sweep",
    seed=3,
    model="0",
    edit_set="0",
)


def trial_of(kind, **changes):
    return replace(TRIAL, recipe=replace(TRIAL.recipe, kind=kind), **changes)


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("kind", RECIPES)
def test_a_trial_of_every_recipe(family, kind):
    one = world(family)
    before = snapshot(one.model)
    record = run_trial(one.context, trial_of(kind)).record
    assert snapshot(one.model).keys() == before.keys()
    assert same(one.model, before)
    assert all(p.grad is None and not p.requires_grad for p in one.model.parameters())
    assert record.status == "done"
    assert record.epochs[-1].loss < record.epochs[0].loss
    assert record.change_norm > 0
    assert record.parameter_count > 0
    assert record.flops > 0
    assert repr(loads(Record, dumps(record))) == repr(record)
    again = run_trial(one.context, trial_of(kind)).record
    assert repr(replace(again, seconds=0.0)) == repr(replace(record, seconds=0.0))


@pytest.mark.parametrize("kind", RECIPES)
def test_another_seed_is_another_draw_where_something_is_drawn(kind):
    model = frozen("llama")
    one, two = (planned(model, kind, "L0-2.attn", seed=seed) for seed in (1, 2))
    torch.manual_seed(0)
    again = planned(model, kind, "L0-2.attn", seed=1)

    def told(parts):
        starts = [p.start for p in parts if not isinstance(p, Slice)]
        names = [p if isinstance(p, Slice) else p.slice for p in parts]
        return repr((names, starts))

    assert told(one) == told(again)
    assert (told(one) != told(two)) == (kind in RANDOM)


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_what_was_measured_is_what_is_kept(kind, stored):
    one = world("llama", stored)
    tuned = run_trial(one.context, trial_of(kind), keep=True)
    kept = {piece.name for piece in tuned.changes}
    assert kept == set(tuned.record.parameters)
    for piece, values in tuned.changes.items():
        assert str(values.dtype) == f"torch.{stored}"
        assert values.shape == (piece.count,)


@pytest.mark.parametrize("kind", RECIPES)
def test_weights_and_modules_come_back_when_measuring_fails(kind, monkeypatch):
    one = world("llama")
    before = snapshot(one.model)
    monkeypatch.setattr("locscope.tuning.trial.observe", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_trial(one.context, trial_of(kind))
    assert snapshot(one.model).keys() == before.keys()
    assert same(one.model, before)
    assert all(p.grad is None and not p.requires_grad for p in one.model.parameters())


@pytest.mark.parametrize("kind", RECIPES)
def test_the_first_step_is_predicted_by_the_gradient(kind):
    """At so small a rate that first order is all there is."""
    one = world("llama")
    trial = trial_of(kind)
    norm = gradient_l1(one.context, trial)
    lr = 1e-3 / norm
    recipe = replace(trial.recipe, lr=lr, batch=10, epochs=2, skip_below=0.0, stop_below=0.0)
    record = run_trial(one.context, replace(trial, recipe=recipe)).record
    assert record.epochs[0].loss - record.epochs[1].loss == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("kind", RECIPES)
def test_rates_start_where_the_first_step_is_as_wanted_or_far_below(kind):
    one = world("llama")
    trial = trial_of(kind)
    predicted = starting_rate(one.context, trial, 0.3) * gradient_l1(one.context, trial)
    assert predicted == pytest.approx(0.3 / CAUTION if kind in NO_RATE_HINT else 0.3)


@pytest.mark.parametrize("norm", [0.0, float("nan"), float("inf")])
def test_a_gradient_that_tells_no_rate_is_said(norm, monkeypatch):
    monkeypatch.setattr("locscope.tuning.trial.gradient_l1", lambda *_: norm)
    with pytest.raises(UsageError, match=r"no learning rate for recipe lora at L\d"):
        starting_rate(world("llama").context, trial_of("lora"), 0.3)


def test_counts_are_of_what_is_stepped():
    one = world("llama")
    counts = {k: run_trial(one.context, trial_of(k)).record.parameter_count for k in RECIPES}
    full = 3 * 32 * 48
    assert counts["full"] == counts["soft"] == counts["budget"] == full
    assert counts["half"] in (full // 3, 2 * full // 3)
    assert counts["smallest"] == 3 * round(0.2 * 32 * 48)
    assert counts["lora"] == 3 * 8 * (32 + 48)
    assert counts["lofit"] == 32
    assert counts["all"] == sum(p.numel() for p in blocks(one.model).parameters())


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="unknown recipe 'lore': did you mean lora"):
        planned(frozen("llama"), "lore", "L1.mlp")
    with pytest.raises(UsageError, match="rank -1"):
        planned(frozen("llama"), "lora", "L1.mlp", rank=-1)


def test_masters_of_a_slice_alone_are_its_weights():
    model = frozen("llama")
    found = slices(model, Location.parse("L1.mlp"))
    masters = MasterWeights(model, found, torch.float32)
    for value, weights, piece in zip(masters.values, masters.weights(), found, strict=True):
        assert value is weights
        assert torch.equal(value, take(model.get_parameter(piece.name), piece))
