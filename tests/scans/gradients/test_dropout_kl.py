from dataclasses import replace

import pytest
import torch
from reference.weight_scans import Gates, divergence, importances
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.forward.prefix_cache import PrefixCache
from locscope.scans.gradients.dropout_kl import RATE, dropout_mask
from locscope.scans.run import run_scan

FEW = SCAN_EDITS[:1]


def texts_of(context):
    packed = context.suite.packed
    return [
        tuple(packed.ids[packed.offsets[r] : packed.offsets[r + 1]].tolist())
        for r in context.suite.neutral.texts
    ]


def noise_of(context, text):
    width = context.loaded.info.width

    def noise(which, kind, layer):
        return torch.from_numpy(dropout_mask(text, which, kind, layer, width, context.seed))

    return noise


def scored(context):
    result = run_scan("dropout-kl", context)
    return {(s.part, s.layer, s.head): s for s in result.scores}


@pytest.mark.parametrize("pads", [0, 3, -3])
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_importances_are_those_of_single_texts_through_the_plain_model(family, pads):
    context = scan_context(family, FEW)
    found = scored(context)
    singles = [
        importances(context.loaded.model, text, noise_of(context, text), pads)
        for text in texts_of(context)
    ]
    largest = max(score.score for score in found.values())
    for layer in range(context.loaded.info.layers):
        mean = {
            kind: torch.stack([one[kind, layer] for one in singles]).mean(0)
            for kind in ("up", "down", "heads")
        }
        expected = {
            ("mlp.up", layer, -1): mean["up"].mean(),
            ("mlp.down", layer, -1): mean["down"].mean(),
            ("attn", layer, -1): mean["heads"].mean(),
            **{("attn", layer, head): one for head, one in enumerate(mean["heads"])},
        }
        for key, value in expected.items():
            assert found[key].score == pytest.approx(float(value), abs=1e-5 * largest), key
            assert found[key].count == len(singles)
            assert found[key].low <= found[key].score <= found[key].high
    assert len(found) == context.loaded.info.layers * (3 + context.loaded.info.heads)


@pytest.mark.parametrize("kind", ["up", "down", "heads"])
def test_the_reference_is_the_slope_of_the_divergence(kind):
    """Central differences in float64 (which only GPT-2's norm keeps to), one gate at a time."""
    context = scan_context("gpt2", FEW)
    model, text = context.loaded.model, texts_of(context)[0]
    model.double()
    noise = noise_of(context, text)
    whole = importances(model, text, noise)[kind, 1]
    unit, far = int(whole.argmax()), 1e-4
    found = []
    for step in (far, -far):
        gates = Gates(model)
        gates.values[kind, 1][unit] += step
        found.append(float(divergence(model, gates, text, noise)))
    slope = (found[0] - found[1]) / (2 * far) / len(text)
    assert abs(slope) == pytest.approx(float(whole[unit]), rel=1e-4)


def test_batches_change_nothing_and_the_model_stays_as_it_was():
    context = scan_context("gemma2", FEW)
    model = context.loaded.model
    before, whole = snapshot(model), scored(context)
    prefix_cache = PrefixCache(model, context.suite.packed, tokens_at_once=1)
    parted = scored(replace(context, prefix_cache=prefix_cache))
    largest = max(score.score for score in whole.values())
    for key, score in parted.items():
        assert score.score == pytest.approx(whole[key].score, abs=1e-5 * largest), key
    assert same(model, before)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_dropout_is_rare_unbiased_and_of_its_own_everywhere():
    text = tuple(range(40))
    drawn = [
        dropout_mask(text, which, kind, layer, 500, seed)
        for which in (0, 1)
        for kind in ("attn_out", "mlp_out")
        for layer in (0, 1)
        for seed in (0, 1)
    ]
    assert all(set(one.ravel().tolist()) == set(drawn[0].ravel().tolist()) for one in drawn)
    dropped = [float((one == 0).mean()) for one in drawn]
    assert all(abs(share - RATE) < 5 * (RATE / drawn[0].size) ** 0.5 for share in dropped)
    assert drawn[0].max() == pytest.approx(1 / (1 - RATE))
    assert len({one.tobytes() for one in drawn}) == len(drawn)


def test_another_seed_is_another_dropout():
    context = scan_context("llama", FEW)
    other = scored(replace(context, seed=1))
    assert all(other[key].score != score.score for key, score in scored(context).items())


def test_without_neutral_texts_nothing_is_read():
    context = scan_context("llama", FEW)
    context = replace(context, suite=replace(context.suite, neutral=context.suite.neutral.first(0)))
    result = run_scan("dropout-kl", context)
    assert (result.scores, result.usable) == ((), 0)
    assert any("no neutral texts" in note for note in result.notes)
