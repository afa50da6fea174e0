"""Causal tracing against one whole forward per cell, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.causal_tracing import embedding_deviation, trace_cell, window_of
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from transformer_lens import patching

from locscope.interp.patching import RESTORED, windows_of
from locscope.models.parts import blocks
from locscope.records import ScanOptions
from locscope.scans.interventions import causal_tracing
from locscope.scans.interventions.causal_tracing import trace
from locscope.scans.interventions.causal_tracing import window_of as window_in
from locscope.scans.run import run_scan

OPTIONS = ScanOptions(samples=2, window=3)


def corrupted_pairs(context):
    return context.corrupted_pairs(causal_tracing._corruption(context))


def traces_of(context, most=None):
    subjects = corrupted_pairs(context)[:most]
    return [(one, trace(context, [one], window_in(context))[0]) for one in subjects]


def cell(context, one, states, **settings):
    return trace_cell(
        context.loaded.model,
        one.fact.ids,
        one.ids,
        one.noise(32),
        one.fact.span[0],
        states,
        one.fact.answer[0],
        **settings,
    )


@pytest.mark.parametrize("corruption", ["noise", "swap"])
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_equals_one_forward_per_cell(family, corruption):
    context = scan_context(
        family, options=replace(OPTIONS, corruption=corruption), num_hidden_layers=4
    )
    traces = traces_of(context, 2)
    assert traces, "no subject could be corrupted"
    for one, fast in traces:
        first, length = one.fact.span[0], len(one.fact.ids)
        assert fast.corrupted == pytest.approx(cell(context, one, []), abs=1e-5)
        for number, (side, padding) in enumerate([("left", 3), ("right", 2), ("left", 0)]):
            token = [first, one.fact.span[1] - 1, length - 1][number]
            for layer in range(4):
                states = {
                    "block": [("block", layer, token)],
                    "mlp": [("mlp", n, token) for n in window_of(layer, 3, 4)],
                    "attn": [("attn", n, token) for n in window_of(layer, 3, 4)],
                }
                for kind, part in enumerate(("block", "mlp", "attn")):
                    slow = cell(context, one, states[part], side=side, padding=padding)
                    found = float(fast.restored[kind, token, layer])
                    assert found == pytest.approx(slow, abs=1e-5), (part, layer, token)


def test_every_cell_of_one_fact_also_those_that_are_not_computed():
    context = scan_context("llama", options=OPTIONS, num_hidden_layers=4)
    ((one, fast),) = traces_of(context, 1)
    for token in range(len(one.fact.ids)):
        for layer in range(4):
            slow = cell(context, one, [("block", layer, token)])
            assert float(fast.restored[0, token, layer]) == pytest.approx(slow, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_equals_transformerlens_patching(family):
    """Its `patching` module on the swapped prompt, one forward per cell of one fact."""
    options = ScanOptions(corruption="swap", window=1)
    context = scan_context(family, options=options, num_hidden_layers=4)
    ((one, fast),) = traces_of(context, 1)
    answer, bridge = one.fact.answer[0], context.hooked.bridge

    def metric(logits):
        return logits[0, -1].softmax(-1)[answer]

    with torch.no_grad():
        _, clean = bridge.run_with_cache(torch.tensor([one.fact.ids]))
        theirs = [
            patch(bridge, torch.tensor([one.ids]), clean, metric)
            for patch in (
                patching.get_act_patch_resid_pre,
                patching.get_act_patch_mlp_out,
                patching.get_act_patch_attn_out,
            )
        ]
    found = fast.restored.transpose(1, 2)
    # The stream that enters a block is the state behind the one below it.
    assert torch.allclose(found[0, :-1], theirs[0][1:], atol=1e-6)
    assert torch.allclose(found[1], theirs[1], atol=1e-6)
    assert torch.allclose(found[2], theirs[2], atol=1e-6)


def test_romes_random_stream():
    context = scan_context("gpt2", options=replace(OPTIONS, stream="rome", samples=3))
    for one in corrupted_pairs(context):
        first, stop = one.fact.span
        drawn = np.random.RandomState(1).randn(3, stop - first, 32)
        scale = float(one.noise(32)[0, 0, 0]) / drawn[0, 0, 0]
        assert np.allclose(one.noise(32).numpy(), scale * drawn, atol=1e-6)


def test_noise_is_three_standard_deviations_of_the_subjects_embeddings():
    context = scan_context("llama", options=replace(OPTIONS, samples=4000))
    one = corrupted_pairs(context)[0]
    tokens = [t for f in context.facts.with_subject for t in f.ids[slice(*f.span)]]
    embedded = context.loaded.model.get_input_embeddings().weight[tokens]
    assert float(one.noise(32).std()) == pytest.approx(3 * float(embedded.std()), rel=0.02)


@pytest.mark.parametrize("layers", [4, 12])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_romes_numbers_at_any_depth_also_where_some_edits_are_scanned(family, layers):
    """Windows of ten layers, and noise of three standard deviations of all subjects given: also of
    those that are not drawn, and of one that its prompt does not hold."""
    options = ScanOptions(stream="rome", samples=3, requests=3)
    context = scan_context(family, options=options, num_hidden_layers=layers).narrowed
    model, tokenizer = context.loaded.model, context.loaded.tokenizer
    subjects = [tokenizer(edit.subject)["input_ids"] for edit in SCAN_EDITS]
    scale = 3 * embedding_deviation(model, subjects)
    some = [tokenizer(edit.subject)["input_ids"] for edit in SCAN_EDITS if edit.id in context.edits]
    assert abs(3 * embedding_deviation(model, some) - scale) > 1e-4 * scale
    ((one, fast),) = traces_of(context, 1)
    first, stop = one.fact.span
    noise = torch.from_numpy(scale * np.random.RandomState(1).randn(3, stop - first, 32))
    for layer in (0, layers // 2, layers - 1):
        window = range(max(0, layer - 5), min(layers, layer - (-10 // 2)))
        for kind, part in ((1, "mlp"), (2, "attn")):
            states = [(part, n, stop - 1) for n in window]
            slow = trace_cell(
                model, one.fact.ids, one.ids, noise, first, states, one.fact.answer[0]
            )
            assert float(fast.restored[kind, stop - 1, layer]) == pytest.approx(slow, abs=1e-6)
    assert "windows of 10 layers" in causal_tracing._settings(context, window_in(context))


@pytest.mark.parametrize("layers", [3, 5])
def test_block_calls_follow_a_formula(layers):
    """Twice all blocks; then, for each token from the subject on, all but the lowest block for
    states, and all blocks for the outputs of MLPs and of attention."""
    context = scan_context("llama", options=OPTIONS, num_hidden_layers=layers)
    one = corrupted_pairs(context)[0]
    calls = [0]

    def count(module, args, out):
        calls[0] += 1

    models = (context.hooked.bridged, context.hooked.model)
    handles = [b.register_forward_hook(count) for model in models for b in blocks(model)]
    trace(context, [one], window_in(context))
    for handle in handles:
        handle.remove()
    tokens = len(one.fact.ids) - one.fact.span[0]
    assert calls[0] == 2 * layers + tokens * (3 * layers - 1)


def test_windows_lie_as_in_the_paper():
    ten = windows_of(RESTORED["mlp"], 10, 48)
    assert (ten[0], ten[20], ten[47]) == (range(0, 5), range(15, 25), range(42, 48))
    for layer, window in enumerate(windows_of(RESTORED["mlp"], 3, 6)):
        assert window == window_of(layer, 3, 6)


@pytest.mark.parametrize("layers", [(4, 1), (32, 10), (48, 10), (8, 2), (10, 3)])
def test_the_window_shrinks_with_the_model(layers):
    depth, window = layers
    context = scan_context("llama", num_hidden_layers=2)
    info = replace(context.loaded.info, layers=depth)
    asked = replace(context, loaded=replace(context.loaded, info=info))
    assert window_in(asked) == window


def test_the_batch_decides_nothing():
    whole, small = (
        run_scan("causal-tracing", scan_context("qwen3", options=OPTIONS, tokens_at_once=n))
        for n in (16384, 40)
    )
    assert len(whole.scores) == len(small.scores)
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-5, nan_ok=True)


def test_scores_are_means_over_facts_at_the_last_subject_token():
    context = scan_context("llama", options=OPTIONS)
    result = run_scan("causal-tracing", context)
    traces = traces_of(context)
    for kind, part in enumerate(("block", "mlp", "attn")):
        for layer in range(3):
            ends = [one.fact.last if part == "attn" else one.fact.span[1] - 1 for one, _ in traces]
            slow = [
                float(fast.restored[kind, end, layer]) - fast.corrupted
                for (_, fast), end in zip(traces, ends, strict=True)
            ]
            assert result.at("indirect effect", layer, part) == pytest.approx(
                np.mean(slow), abs=1e-6
            )
    assert result.usable == len(SCAN_EDITS) - 1
    assert result.requests == len(SCAN_EDITS)
    assert {s.role for s in result.scores} == {
        "", "first subject", "middle subject", "last subject", "first after", "further", "last"
    }  # fmt: skip
    found, *others = [m for m in result.maps if m.part == "block"]
    # Of every fact that was used, so that a report lets one choose among them.
    assert len({one.edit for one in (found, *others)}) == result.usable == 1 + len(others)
    assert found.tokens[found.subject[0]].strip() in "France"
    assert len(found.values) == 3
    assert len(found.values[0]) == len(found.tokens)


def test_without_any_subject_nothing_is_usable():
    edits = tuple(replace(edit, subject="") for edit in SCAN_EDITS)
    result = run_scan("causal-tracing", scan_context("llama", edits))
    assert (result.usable, result.scores) == (0, ())
    assert torch.isnan(torch.tensor(result.at("indirect effect", 0, "mlp")))
