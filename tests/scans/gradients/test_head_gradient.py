"""The head gradient against plain autograd, and against heads that are a little silenced."""

from math import isnan

import pytest
import torch
from reference import attribution as slow
from scan_worlds import SCAN_FAMILIES, scan_context, shared_context
from worlds import same, snapshot

from locscope.errors import UsageError
from locscope.interp.metrics import METRICS
from locscope.records import ScanOptions
from locscope.scans.run import run_scan

PADDING = ({}, {"side": "left", "padding": 2}, {"side": "right", "padding": 2})


def cases(context, metric, **padded):
    """The facts as prompts; the distractor is the second of the plain model's sorted logits."""
    found = {}
    for fact in context.facts.all:
        prompt = slow.Prompt(fact.ids, **padded)
        with torch.no_grad():
            order = slow.run(context.loaded.model, prompt).logits[0, prompt.tokens][-1].argsort()
        distractor = next(t for t in reversed(order.tolist()) if t != fact.answer[0])
        found[fact.edit] = slow.Case(prompt, prompt, fact.answer[0], distractor, metric)
    return found


def scores_of(result, variant):
    return {(s.layer, s.head): s for s in result.scores if s.variant == variant}


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_equals_plain_autograd(family, ablation):
    context = shared_context(family, ScanOptions(ablation=ablation))
    result, model = run_scan("head-gradient", context), context.loaded.model
    assert result.variants == ("probability", "logit-diff")
    for number, metric in enumerate(result.variants):
        found, by_edit = scores_of(result, metric), cases(context, metric, **PADDING[number + 1])
        for layer in range(context.hooked.layers):
            z = {e: slow.activation(model, c.clean, "z", layer) for e, c in by_edit.items()}
            level = torch.cat(list(z.values())).mean(0) if ablation == "mean" else 0.0
            for edit, case in list(by_edit.items())[:2]:
                slope = slow.gradient(model, case, case.clean, "z", layer)
                expected = ((z[edit] - level) * slope).sum((0, 2))
                row = context.edits.index(edit)
                mine = [found[layer, head].values[row] for head in range(4)]
                assert mine == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5), (
                    metric,
                    layer,
                    edit,
                )
                whole = found[layer, -1].values[row]
                assert whole == pytest.approx(float(expected.abs().sum()), rel=1e-5, abs=1e-5)
    assert result.usable == len(context.facts.all)


def test_it_is_what_silencing_a_head_by_a_hundredth_costs():
    context = shared_context("llama")
    result, model, share = run_scan("head-gradient", context), context.loaded.model, 0.01
    for metric in METRICS:
        found = scores_of(result, metric)
        edit, case = next(iter(cases(context, metric).items()))
        whole = slow.value(model, case, case.clean)
        for layer, head in ((0, 2), (1, 0), (2, 3)):

            def less(z, head=head):
                z = z.clone()
                z[:, :, head] *= 1 - share
                return z

            with slow.changed(model, "z", layer, less):
                lost = whole - slow.value(model, case, case.clean)
            score = found[layer, head].values[context.edits.index(edit)]
            assert lost / share == pytest.approx(score, rel=0.1, abs=1e-4)


def test_the_batch_decides_nothing_and_the_model_is_left_as_it_was():
    options = ScanOptions(ablation="mean")
    context = shared_context("qwen3", options)
    before = snapshot(context.loaded.model)
    whole = run_scan("head-gradient", context)
    small = run_scan("head-gradient", scan_context("qwen3", options=options, tokens_at_once=20))
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-5, abs=1e-5, nan_ok=True)
    assert same(context.loaded.model, before)
    assert all(p.grad is None and not p.requires_grad for p in context.loaded.model.parameters())
    assert isnan(whole.at("probability", 0, "mlp"))
    with pytest.raises(UsageError, match="unknown ablation 'resampl'"):
        run_scan("head-gradient", scan_context("qwen3", options=ScanOptions(ablation="resampl")))
