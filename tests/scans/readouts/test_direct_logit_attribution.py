"""Direct logit attribution against norms written out and against TransformerLens's."""

import copy
import warnings

import pytest
import torch
from reference import readout as slow
from reference.attribution import Prompt, activation
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context, shared_context
from worlds import same, snapshot

from locscope.interp.hooked_model import hooked_model_of
from locscope.interp.metrics import runners_up
from locscope.scans.readouts.direct_logit_attribution import shares_of
from locscope.scans.run import run_scan

PADDING = ({}, {"side": "left", "padding": 2}, {"side": "right", "padding": 2})


def apart(context):
    facts = context.facts.all
    distractors = runners_up(context.hooked, facts)
    items = [(fact, distractors[fact.edit]) for fact in facts]
    return items, shares_of(context, facts, distractors)


@pytest.mark.parametrize("family", [*SCAN_FAMILIES, "granite"])
def test_everything_sums_to_the_models_own_logit_difference(family):
    context = shared_context(family)
    for (fact, distractor), one in zip(*apart(context), strict=True):
        total = one.embedding + float(one.attn.sum() + one.mlp.sum()) + one.biases
        expected = slow.difference(
            context.loaded.model, Prompt(fact.ids), fact.answer[0], distractor
        )
        assert total == pytest.approx(expected, abs=1e-5)
        assert one.whole == pytest.approx(expected, abs=1e-5)
        assert expected >= 0, "the answer is the model's own, the distractor the next best"


@pytest.mark.parametrize("scaling", [1.5, 1.0])
def test_heads_of_a_model_that_scales_its_stream_and_its_logits_sum_to_attention(scaling):
    context = scan_context("granite", SCAN_EDITS[:3], logits_scaling=scaling)
    items, found = apart(context)
    for (fact, distractor), one in zip(items, found, strict=True):
        with torch.no_grad():
            plain = context.loaded.model(torch.tensor([fact.ids])).logits[0, -1]
        assert one.whole == pytest.approx(
            float(plain[fact.answer[0]] - plain[distractor]), abs=1e-5
        )
        assert one.heads.sum(1).tolist() == pytest.approx(one.attn.tolist(), abs=1e-5)


def test_a_model_that_caps_its_logits_is_said():
    notes = run_scan("direct-logit-attribution", shared_context("gemma2")).notes
    assert "logits are those before the model softly caps them at 3" in notes
    notes = run_scan("direct-logit-attribution", shared_context("llama")).notes
    assert not any("caps" in note for note in notes)


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_equals_norms_written_out_component_by_component(family):
    context = shared_context(family)
    model = context.loaded.model
    for number, ((fact, distractor), one) in enumerate(zip(*apart(context), strict=True)):
        prompt = Prompt(fact.ids, **PADDING[number % 3])
        last = slow.states(model, prompt)[-1]
        pair = fact.answer[0], distractor

        def share(part, last=last, pair=pair):
            return pytest.approx(slow.share(model, part, last, *pair), abs=1e-5)

        assert one.embedding == share(slow.states(model, prompt)[0])
        for layer in range(context.hooked.layers):
            assert float(one.attn[layer]) == share(activation(model, prompt, "attn_out", layer)[-1])
            assert float(one.mlp[layer]) == share(activation(model, prompt, "mlp_out", layer)[-1])
            for head in range(4):
                part = slow.head_part(model, prompt, layer, head)
                assert float(one.heads[layer, head]) == share(part), (layer, head)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_equals_transformer_hooked_in_compatibility_mode(family):
    from transformer_lens.tools.analysis import direct_logit_attribution

    context = shared_context(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = hooked_model_of(copy.deepcopy(context.loaded.model)).bridge
        other.enable_compatibility_mode()
    for (fact, distractor), one in zip(*apart(context), strict=True):

        def theirs(unit, fact=fact, distractor=distractor):
            found = direct_logit_attribution(
                other,
                torch.tensor([fact.ids]),
                torch.tensor([fact.answer[0]]),
                torch.tensor([distractor]),
                unit=unit,
            )
            return dict(zip(found.labels, found.attribution.flatten().tolist(), strict=True))

        parts, heads = theirs("component"), theirs("head")
        for layer in range(context.hooked.layers):
            assert float(one.attn[layer]) == pytest.approx(parts[f"{layer}_attn_out"], abs=1e-5)
            assert float(one.mlp[layer]) == pytest.approx(parts[f"{layer}_mlp_out"], abs=1e-5)
            # GPT-2 has biases of values, which compatibility mode takes from the heads.
            for head in range(4 if family == "llama" else 0):
                mine = float(one.heads[layer, head])
                assert mine == pytest.approx(heads[f"L{layer}H{head}"], abs=1e-5)


def test_scores_are_means_over_facts_and_the_batch_decides_nothing():
    context = shared_context("qwen3")
    before = snapshot(context.loaded.model)
    result = run_scan("direct-logit-attribution", context)
    small = run_scan("direct-logit-attribution", scan_context("qwen3", tokens_at_once=20))
    for one, other in zip(result.scores, small.scores, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-5, nan_ok=True)
    _, found = apart(context)
    for layer in range(3):
        attn = sum(float(one.attn[layer]) for one in found) / len(found)
        mlp = sum(float(one.mlp[layer]) for one in found) / len(found)
        assert result.at("logit-diff", layer, "attn") == pytest.approx(attn, abs=1e-5)
        assert result.at("logit-diff", layer, "mlp") == pytest.approx(mlp, abs=1e-5)
        assert result.at("logit-diff", layer, "block") == pytest.approx(attn + mlp, abs=1e-5)
    assert result.usable == len(found) == len(SCAN_EDITS)
    assert "of which embedding" in result.notes[0]
    whole, embedding, biases = result.totals
    written = sum(result.at("logit-diff", layer, "block") for layer in range(3))
    assert whole.value == pytest.approx(embedding.value + biases.value + written, abs=1e-4)
    assert whole.count == len(SCAN_EDITS)
    assert same(context.loaded.model, before)
