from dataclasses import replace
from math import inf, isnan, log2, sqrt

import pytest
import torch
from reference.neurons import plain_mlp_input, prompt_of
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

import locscope.scans.readouts.stealth_dimension as stealth
from locscope.interp.states import last_states
from locscope.progress import Silent
from locscope.scans.run import run_scan

DELTA = 2 * 0.995**2 - 2


def plain_dimension(points):
    """n of all ordered pairs, one by one; infinite where none is near."""
    pairs = [(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j]
    near = sum(float((x - y) @ y) >= DELTA for x, y in pairs)
    return inf if near == 0 else -1 - log2(near / len(pairs))


def plain_points(context, texts, layer, pads=((0, "left"), (3, "left"), (2, "right"))):
    model = context.loaded.model
    prompts = [prompt_of(ids, *pads[i % len(pads)]) for i, ids in enumerate(texts)]
    inputs = torch.stack([plain_mlp_input(model, prompt, layer) for prompt in prompts])
    return inputs / sqrt(inputs.shape[1])


def prompts_of(context):
    return [question.target.prompt for question in context.suite.of(context.edits)]


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_inputs_are_those_of_the_norm_without_gain_and_bias(family):
    context = scan_context(family)
    before, texts = snapshot(context.loaded.model), prompts_of(context)
    found = list(last_states(context.hooked, "mlp_in", texts, Silent()))
    assert len(found) == context.hooked.layers
    for layer, inputs in enumerate(found):
        points = plain_points(context, texts, layer)
        torch.testing.assert_close(inputs / sqrt(32), points, rtol=0, atol=1e-5)
        assert float((points.norm(dim=1) - 1).abs().max()) < 1e-3
        if family in ("gpt2", "gptneox"):
            assert float(points.mean(1).abs().max()) < 1e-6
    assert same(context.loaded.model, before)


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_dimensions_are_those_of_all_pairs_one_by_one(family, monkeypatch):
    # Random points of 32 dimensions are never near: at 45 degrees some are, some are not.
    monkeypatch.setattr(stealth, "DELTA", -0.4)
    monkeypatch.setitem(globals(), "DELTA", -0.4)
    context = scan_context(family)
    packed, neutral = context.suite.packed, context.suite.neutral.texts
    texts = {
        "prompts": prompts_of(context),
        "neutral": [
            packed.ids[packed.offsets[n] : packed.offsets[n + 1]].tolist() for n in neutral
        ],
    }
    result = run_scan("stealth-dimension", context)
    assert result.usable == len(SCAN_EDITS)
    told = 0
    for variant, some in texts.items():
        for layer in range(context.hooked.layers):
            wanted = plain_dimension(plain_points(context, some, layer).double())
            score = next(s for s in result.scores if (s.variant, s.layer) == (variant, layer))
            most = -1 + log2(len(some) * (len(some) - 1))
            assert (score.part, score.count) == ("mlp", len(some))
            assert score.score == pytest.approx(min(wanted, most))
            told += wanted < inf
            note = next(n for n in result.notes if n.startswith(f"{variant}:"))
            assert (f"L{layer}" in note.partition("at least")[2]) == (wanted == inf)
    assert told


def test_the_result_does_not_depend_on_the_batch(monkeypatch):
    monkeypatch.setattr(stealth, "DELTA", -0.4)
    whole = run_scan("stealth-dimension", scan_context("gptneox"))
    monkeypatch.setattr(stealth, "AT_ONCE", 3)
    small = run_scan("stealth-dimension", scan_context("gptneox", tokens_at_once=20))
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert other == replace(one, low=other.low, high=other.high)
    # One layer at a time from runs of their own.
    context = scan_context("gptneox")
    texts = prompts_of(context)
    together = torch.stack(list(last_states(context.hooked, "mlp_in", texts, Silent())))
    alone = torch.stack(list(last_states(context.hooked, "mlp_in", texts, Silent(), held=1)))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_the_interval_leaves_each_text_out_once():
    """A circle of points of which neighbours are near, and one point that is far from all."""
    angles = torch.linspace(0, 3.0, 16, dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1)
    points = torch.cat([points, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])
    one = stealth.dimension(stealth.near_pairs(points))
    assert one.value == pytest.approx(plain_dimension(points))
    without = torch.tensor(
        [plain_dimension(torch.cat([points[:i], points[i + 1 :]])) for i in range(17)]
    )
    error = sqrt(16 / 17 * float((without - without.mean()).square().sum()))
    assert (one.low, one.high) == pytest.approx(
        (one.value - 1.96 * error, one.value + 1.96 * error), rel=1e-5
    )


def test_where_no_two_are_near_the_score_is_the_most_that_can_be_told():
    near = stealth.near_pairs(torch.eye(5))
    one = stealth.dimension(near)
    assert not near.any()
    assert one.value == pytest.approx(log2(20) - 1)
    assert isnan(one.low)


def test_a_text_counts_once_and_one_is_not_enough():
    edits = [replace(edit, prompt=SCAN_EDITS[0].prompt) for edit in SCAN_EDITS[:3]]
    result = run_scan("stealth-dimension", scan_context("llama", edits))
    assert result.usable == 3
    assert "prompts" not in result.variants
    assert {s.variant for s in result.scores} == {"neutral", "neutral-drawn"}
    assert any("prompts: 1 texts" in note for note in result.notes)


def test_neutral_texts_are_cut_at_a_drawn_token():
    texts = [tuple(range(i, i + length)) for i, length in enumerate([2, 5, 300, 300])]
    cut = [stealth._cut(texts, seed) for seed in range(60)]
    for some in cut:
        assert all(text[: len(part)] == part for text, part in zip(texts, some, strict=True))
    lengths = [{len(some[i]) for some in cut} for i in range(4)]
    assert lengths[0] == {2}
    assert lengths[1] == {2, 3, 4, 5}
    assert 60 < max(lengths[2]) <= 100
    assert cut[0] == stealth._cut(texts, 0)
