from dataclasses import replace

import pytest
import torch
from reference.neurons import (
    chance,
    plain_attributions,
    plain_knowledge_neurons,
    plain_neurons,
    prompt_of,
)
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.interp.facts import Facts
from locscope.records import ScanOptions
from locscope.scans.gradients.knowledge_neurons import (
    integrated_gradients,
    knowledge_neurons,
    run_untouched,
)
from locscope.scans.run import run_scan

STEPS = 3


def per_request(result):
    """{(variant, layer): values of the requests}"""
    return {(s.variant, s.layer): torch.tensor(s.values) for s in result.scores}


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_shares_and_attributions_are_those_of_one_pass_per_step(family):
    context = scan_context(family, SCAN_EDITS[:4], options=ScanOptions(steps=STEPS))
    model, before = context.loaded.model, snapshot(context.loaded.model)
    result = run_scan("knowledge-neurons", context)
    found = per_request(result)
    assert same(model, before)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    location = {edit: i for i, edit in enumerate(context.edits)}
    used = set()
    for fact, (padding, side) in zip(
        context.facts.all, [(0, "left"), (3, "left"), (2, "right"), (1, "left")], strict=False
    ):
        prompt = prompt_of(fact.ids, padding, side)
        neurons = plain_knowledge_neurons(model, prompt, fact.answer[0], STEPS, 0.2)
        used.add(fact.edit)
        for layer in range(context.hooked.layers):
            mine = [value for (where, _), value in neurons.items() if where == layer]
            row = location[fact.edit]
            share, total = found["share", layer][row], found["attribution", layer][row]
            assert float(share) == pytest.approx(len(mine) / len(neurons), abs=1e-5)
            assert float(total) == pytest.approx(sum(mine), abs=1e-5)
    assert used
    assert result.usable == len(used)
    unused = [location[edit] for edit in context.edits if edit not in used]
    assert all(values[unused].isnan().all() for values in found.values())


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_the_result_does_not_depend_on_the_batch(family):
    options = ScanOptions(steps=4)
    whole = run_scan("knowledge-neurons", scan_context(family, options=options))
    small = run_scan("knowledge-neurons", scan_context(family, options=options, tokens_at_once=40))
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert replace(one, score=0.0, low=0.0, high=0.0, values=()) == replace(
            other, score=0.0, low=0.0, high=0.0, values=()
        )
        torch.testing.assert_close(
            torch.tensor(one.values), torch.tensor(other.values), rtol=0, atol=1e-5, equal_nan=True
        )
    assert whole.notes == small.notes


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_a_prompt_of_one_token_has_neurons_too(family):
    context = scan_context(family)
    fact = replace(context.facts.all[0], ids=(280,), subject=None)
    (ours,), _ = integrated_gradients(context.hooked, run_untouched(context.hooked, [fact]), 1, 3)
    model, answer = context.loaded.model, fact.answer[0]
    wanted = plain_attributions(model, prompt_of(fact.ids), 1, answer, 3)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


def test_integrated_gradients_are_those_of_captum():
    from captum.attr import IntegratedGradients

    context = scan_context("llama")
    model, fact = context.loaded.model, context.facts.all[2]
    prompt = prompt_of(fact.ids)
    neurons = plain_neurons(model, prompt, 1)

    def forward(rows):
        return torch.stack([chance(model, prompt, 1, row, fact.answer[0]) for row in rows])

    theirs = IntegratedGradients(forward).attribute(
        neurons[None], baselines=0.0, n_steps=7, method="riemann_right"
    )
    (ours,), _ = integrated_gradients(context.hooked, run_untouched(context.hooked, [fact]), 1, 7)
    torch.testing.assert_close(ours, theirs[0].float(), rtol=0, atol=1e-6)
    assert float(ours.abs().max()) > 1e-4


@pytest.mark.parametrize("family", ["llama", "gptneox"])
def test_attributions_of_a_layer_sum_to_what_its_neurons_change(family):
    """Completeness: with many steps the sum is the answer's probability with them less without."""
    context = scan_context(family)
    model, layer, sums = context.loaded.model, 2, []
    for fact in context.facts.all:
        prompt, run = prompt_of(fact.ids), run_untouched(context.hooked, [fact])
        total = float(integrated_gradients(context.hooked, run, layer, 400)[0].sum())
        neurons = plain_neurons(model, prompt, layer)
        with torch.no_grad():
            whole = chance(model, prompt, layer, neurons, fact.answer[0])
            none = chance(model, prompt, layer, 0 * neurons, fact.answer[0])
        assert total == pytest.approx(float(whole - none), abs=5e-3)
        sums.append(abs(total))
    assert max(sums) > 0.02


def test_neurons_are_those_above_a_fifth_of_the_largest_of_all_layers():
    context = scan_context("qwen3")
    fact = context.facts.all[0]
    (neurons,) = knowledge_neurons(context.hooked, [fact], 2)
    every = torch.stack(
        [
            plain_attributions(context.loaded.model, prompt_of(fact.ids), n, fact.answer[0], 2)
            for n in range(context.hooked.layers)
        ]
    )
    wanted = (every > 0.2 * every.max()).nonzero().tolist()
    assert (
        list(map(list, zip(neurons.layers.tolist(), neurons.numbers.tolist(), strict=True)))
        == wanted
    )
    assert len(set(neurons.layers.tolist())) > 1


def test_the_note_says_where_a_norm_behind_the_mlp_hides_its_scale():
    """Of Gemma 2 the attributions of a layer sum to nothing: the norm undoes the scaling."""
    context = scan_context("gemma2", options=ScanOptions(steps=STEPS))
    assert any("normalises" in note for note in run_scan("knowledge-neurons", context).notes)
    run = run_untouched(context.hooked, context.facts.all[:1])
    (ours,), _ = integrated_gradients(context.hooked, run, 2, 5)
    assert abs(float(ours.sum())) < 0.01 * float(ours.abs().sum())
    other = scan_context("llama", options=ScanOptions(steps=STEPS))
    assert not any("normalises" in note for note in run_scan("knowledge-neurons", other).notes)


def test_the_notes_name_the_commonest_neurons_and_the_settings_the_steps():
    context = scan_context("llama")
    result = run_scan("knowledge-neurons", context)
    assert "20 steps" in result.settings
    neurons = [one for f in context.facts.all for one in knowledge_neurons(context.hooked, [f], 20)]
    counts = {}
    for one in neurons:
        for location in zip(one.layers.tolist(), one.numbers.tolist(), strict=True):
            counts[location] = counts.get(location, 0) + 1
    layer, number = min(counts, key=lambda location: (-counts[location], location))
    note = next(note for note in result.notes if "commonest" in note)
    assert f"facts: L{layer}.mlp neuron {number} (in {counts[layer, number]})" in note


def test_without_facts_there_are_no_scores():
    context = scan_context("llama")
    # What is kept of the facts once they were asked for.
    vars(context)["facts"] = Facts((), ("nothing said",))
    result = run_scan("knowledge-neurons", context)
    assert (result.scores, result.usable) == ((), 0)
    assert result.notes[0] == "nothing said"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_completeness_gap_is_that_of_one_pass_per_step(family):
    """Of every layer: the sum of its neurons' attributions, against two whole forwards."""
    context = scan_context(family, SCAN_EDITS[:3], options=ScanOptions(steps=2))
    model, result = context.loaded.model, run_scan("knowledge-neurons", context)
    missed, whole, each = 0.0, 0.0, []
    for fact in context.facts.all:
        gaps, effects = [], []
        for layer in range(context.hooked.layers):
            prompt = prompt_of(fact.ids, 2, "left")
            neurons = plain_neurons(model, prompt, layer)
            with torch.no_grad():
                there, none = (
                    float(chance(model, prompt, layer, x, fact.answer[0]))
                    for x in (neurons, 0 * neurons)
                )
            total = float(plain_attributions(model, prompt, layer, fact.answer[0], 2).sum())
            gaps.append(abs(total - (there - none)))
            effects.append(abs(there - none))
        each.append(sum(gaps) / sum(effects))
        missed, whole = missed + sum(gaps), whole + sum(effects)
    (gap,) = result.totals
    assert gap.name == "completeness gap"
    assert gap.value == pytest.approx(missed / whole, rel=1e-3)
    assert [x for x in gap.values if x == x] == pytest.approx(each, rel=1e-3)
    assert gap.low <= gap.value <= gap.high
    assert any(f"completeness gap {gap.value:.1%}" in note for note in result.notes)
    finer = run_scan("knowledge-neurons", replace(context, options=ScanOptions(steps=60)))
    assert finer.totals[0].value < gap.value / 5
