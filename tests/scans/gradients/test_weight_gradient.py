from dataclasses import replace
from math import isnan

import pytest
import torch
from reference.plain_loop import plain_gradients, plain_losses
from reference.weight_scans import answer_loss, at, gradients, mean_of
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import world

from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.interp import gradients as engine
from locscope.locations import Location
from locscope.models.parts import blocks, slices
from locscope.progress import Silent
from locscope.records import Recipe, Trial
from locscope.scans.context import ScanContext
from locscope.scans.run import run_scan
from locscope.tuning.trial import gradient_l1
from locscope.tuning.workspace import Workspace

FEW = SCAN_EDITS[:4]


def context_of(one):
    edits = tuple(question.edit.id for question in one.suite.edits)
    return ScanContext(one.context.loaded, one.suite, one.context.prefix_cache, edits, 0, Silent())


def with_budget(context, device, tokens_at_once=16384):
    prefix_cache = PrefixCache(
        context.loaded.model, context.suite.packed, Budget(device, 1 << 30), tokens_at_once
    )
    return replace(context, prefix_cache=prefix_cache)


def scored(context):
    result = run_scan("weight-gradient", context)
    return {(s.variant, s.layer, s.part): s for s in result.scores}


def row_ids(context, row):
    packed = context.suite.packed
    return packed.ids[packed.offsets[row] : packed.offsets[row + 1]].tolist()


@pytest.mark.parametrize("family", [*SCAN_FAMILIES, "gemma3", "phi3"])
def test_weight_gradients_are_those_of_the_plain_model(family):
    one = world(family)
    context, model = context_of(one), one.model
    found = scored(context)
    # Rows as they were written: the targets' ones, in the order of the edits.
    rows = [question.target.row for question in one.suite.edits]
    names = [n for n, _ in blocks(model).named_parameters()]
    names = [n for n, _ in model.named_parameters() if any(n.endswith(m) for m in names)]
    edits = plain_gradients(model, names, rows, "right")
    singles = [plain_gradients(model, names, [row], "left") for row in rows]
    texts = [row_ids(context, row) for row in one.suite.neutral.texts]
    neutral = mean_of(
        [
            gradients(model, lambda ids=ids: answer_loss(model, ids, 1, pads=3) / (len(ids) - 1))
            for ids in texts
        ]
    )
    weights = dict(model.named_parameters())
    for location in context.loaded.info.grid:
        g, w, n = (at(model, location, values) for values in (edits, weights, neutral))
        squares = torch.stack([at(model, location, single).square().sum() for single in singles])
        expected = {
            "norm": g.square().sum().sqrt(),
            "l1": g.abs().sum(),
            "relative-norm": g.norm() / w.norm(),
            "taylor": (w * g).abs().sum(),
            "neutral-ratio": g.norm() / n.norm(),
            "neutral-cosine": torch.cosine_similarity(g, n, dim=0),
            "fisher": squares.mean(),
        }
        for variant, value in expected.items():
            score = found[variant, location.layer, location.part].score
            assert score == pytest.approx(float(value), rel=1e-4, abs=1e-6), (variant, location)
        values = found["fisher", location.layer, location.part].values
        assert values == pytest.approx(squares.tolist(), rel=1e-4)


def test_l1_is_the_loss_change_of_adams_first_step():
    """To first order: every weight moves by the rate against its gradient's sign."""
    one = world("llama")
    l1 = scored(context_of(one))["l1", 1, "mlp.down"].score
    rows = [question.target.row for question in one.suite.edits]
    (piece,) = slices(one.model, Location.parse("L1.mlp.down"))
    weight, rate = one.model.get_parameter(piece.name), 1e-5
    gradient = plain_gradients(one.model, [piece.name], rows)[piece.name]
    before = float(plain_losses(one.model, rows).mean().double())
    with torch.no_grad():
        weight -= rate * gradient.sign()
    after = float(plain_losses(one.model, rows).mean().double())
    assert before - after == pytest.approx(rate * l1, rel=0.05)


def bytes_of_a_layer(model, per_weight):
    return per_weight * sum(p.numel() for p in blocks(model)[0].parameters())


@pytest.mark.parametrize("layers", [1, 2])
def test_groups_of_layers_change_nothing(layers):
    context = scan_context("gpt2", FEW, num_hidden_layers=3)
    whole = scored(context)
    device = layers * bytes_of_a_layer(context.loaded.model, 12)
    parted = scored(with_budget(context, device))
    assert parted.keys() == whole.keys()
    for key, score in parted.items():
        assert score.score == pytest.approx(whole[key].score, rel=1e-5, abs=1e-9), key
        assert score.values == pytest.approx(whole[key].values, rel=5e-6)


@pytest.mark.parametrize(("fits", "sizes"), [(0, {1}), (1, {1}), (2, {2, 1}), (3, {3})])
def test_no_more_weights_than_the_budget_holds_ask_for_gradients_at_once(monkeypatch, fits, sizes):
    context = scan_context("llama", FEW, num_hidden_layers=3)
    model, seen = context.loaded.model, []
    plain = engine.answer_losses

    def spied(prefix_cache, batch):
        layers = {
            i
            for i, block in enumerate(blocks(model))
            for p in block.parameters()
            if p.requires_grad
        }
        assert layers == set(range(min(layers), max(layers) + 1))
        assert prefix_cache.layer == min(layers)
        assert all(p.grad is None for p in model.parameters())
        seen.append(len(layers))
        return plain(prefix_cache, batch)

    monkeypatch.setattr(engine, "answer_losses", spied)
    run_scan("weight-gradient", with_budget(context, fits * bytes_of_a_layer(model, 12)))
    assert set(seen) == sizes
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_batches_change_nothing():
    context = scan_context("qwen3", FEW)
    whole, parted = scored(context), scored(with_budget(context, 1 << 30, tokens_at_once=1))
    for key, score in parted.items():
        assert score.score == pytest.approx(whole[key].score, rel=1e-5, abs=1e-7), key


def test_weights_stop_asking_also_after_a_failure(monkeypatch):
    context = scan_context("llama", FEW)

    def failing(prefix_cache, batch):
        raise ValueError("no loss")

    monkeypatch.setattr(engine, "answer_losses", failing)
    with pytest.raises(ValueError, match="no loss"):
        run_scan("weight-gradient", context)
    assert not any(p.requires_grad for p in context.loaded.model.parameters())


def test_without_neutral_texts_there_is_nothing_to_compare_with():
    context = scan_context("llama", FEW)
    context = replace(context, suite=replace(context.suite, neutral=context.suite.neutral.first(0)))
    result = run_scan("weight-gradient", context)
    for score in result.scores:
        assert isnan(score.score) == score.variant.startswith("neutral-"), score
    assert any("no neutral texts" in note for note in result.notes)


def test_the_l1_norm_of_a_location_is_the_sum_of_its_parts():
    context = scan_context("phi3", FEW)
    found = scored(context)
    total = found["l1", 0, "mlp.down"].score + found["l1", 2, "attn.q"].score
    trial = Trial(
        Location.parse("L0.mlp.down+L2.attn.q"),
        Recipe(1e-3, 2),
        context.edits,
        "S",
        "",
        0,
        "m",
        "e",
    )
    for one in (context, with_budget(context, 0)):
        tuning = Workspace(one.loaded, one.suite, one.prefix_cache)
        assert gradient_l1(tuning, trial) == pytest.approx(total, rel=1e-6)


def test_half_precision_weights_are_summed_in_full():
    rounded = scan_context("llama", FEW)
    rounded.loaded.model.to(torch.bfloat16).to(torch.float32)
    exact = scored(rounded)
    half = scan_context("llama", FEW)
    half.loaded.model.to(torch.bfloat16)
    for key, score in scored(half).items():
        if key[0] in ("norm", "l1", "taylor", "fisher"):
            assert score.score == pytest.approx(exact[key].score, rel=0.1), key
    weights = engine.weights_of(half.loaded.model, [0])
    mean = engine.mean_gradient(half.prefix_cache, [0], weights, Silent(), "mean")
    assert {gradient.dtype for gradient in mean.values()} == {torch.float32}
