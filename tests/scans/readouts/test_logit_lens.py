"""The logit lens against the plain model and against TransformerLens's."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from reference.attribution import Prompt
from reference.readout import level, states
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context, shared_context
from worlds import same, snapshot

from locscope.records import ScanOptions
from locscope.scans.run import run_scan

PADDING = ({}, {"side": "left", "padding": 2}, {"side": "right", "padding": 2})


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_equals_the_plain_model_stopped_after_each_layer(family):
    context = shared_context(family)
    result, facts = run_scan("logit-lens", context), context.facts.all
    levels, gains = result.of_locations("logprob"), result.of_locations("gain")
    for number, fact in enumerate(facts):
        prompt = Prompt(fact.ids, **PADDING[number % 3])
        expected = [
            level(context.loaded.model, prompt, state, fact.answer[0])
            for state in states(context.loaded.model, prompt)
        ]
        row = context.edits.index(fact.edit)
        for layer, (below, here) in enumerate(pairwise(expected)):
            assert levels[layer, "block"].values[row] == pytest.approx(here, abs=1e-5)
            assert gains[layer, "block"].values[row] == pytest.approx(here - below, abs=1e-5)
    assert result.usable == len(facts)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_equals_transformer_hooked(family):
    from transformer_lens.tools.analysis import logit_lens

    context = shared_context(family)
    levels = run_scan("logit-lens", context).of_locations("logprob")
    for fact in context.facts.all[:3]:
        theirs = logit_lens(
            context.hooked.bridge,
            torch.tensor([fact.ids]),
            targets=[fact.answer[0]],
            return_type="log_probs",
        ).values.flatten()
        row = context.edits.index(fact.edit)
        for layer in range(context.hooked.layers):
            mine = levels[layer, "block"].values[row]
            assert mine == pytest.approx(float(theirs[layer + 1]), abs=1e-5)


def test_the_batch_decides_nothing_and_the_model_is_left_as_it_was():
    context = shared_context("qwen3")
    before = snapshot(context.loaded.model)
    whole = run_scan("logit-lens", context)
    small = run_scan("logit-lens", scan_context("qwen3", tokens_at_once=20))
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-5, abs=1e-5, nan_ok=True)
    assert same(context.loaded.model, before)


def test_facts_need_no_subject():
    edits = tuple(replace(edit, subject="") for edit in SCAN_EDITS)
    assert run_scan("logit-lens", scan_context("llama", edits)).usable == len(SCAN_EDITS)


@pytest.mark.parametrize("name", ["logit-lens", "direct-logit-attribution", "causal-tracing"])
def test_there_may_be_more_requests_than_positions(name):
    """The norms are asked about rows, which are no tokens of one text."""
    edits = [replace(edit, id=f"{edit.id}{n}") for n in range(9) for edit in SCAN_EDITS]
    options = ScanOptions(samples=1)
    context = scan_context("gpt2", edits, max_position_embeddings=64, options=options)
    assert run_scan(name, context).usable > 64
