from dataclasses import replace
from functools import cache

import pytest
import torch
from reference.ablation import drops, mlp_of, mlp_replaced, say
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.interp.facts import Facts
from locscope.interp.metrics import METRICS
from locscope.interp.silencing import ablation_of
from locscope.records import ScanOptions
from locscope.scans.interventions.mlp_ablation import scan

HOWS = ("zero", "mean", "resample")
SIDES = ("left", "right", "none")


EDITS = tuple(edit for edit in SCAN_EDITS if edit.id in "pqst")


@cache
def world(family):
    return scan_context(family, EDITS)


def context_of(family, how="zero"):
    """The model, its hooked model and its facts are made once for all tests."""
    one = world(family)
    context = replace(one, options=ScanOptions(ablation=how))
    context.__dict__.update(hooked=one.hooked, facts=one.facts)
    return context


def replacement(context, how, fact, layer):
    model, facts = context.loaded.model, context.facts.all
    if how == "zero":
        return torch.zeros_like
    if how == "mean":
        every = torch.cat([mlp_of(model, layer, one.ids) for one in facts])
        return lambda out: every.mean(0).expand_as(out)
    silent = ablation_of(
        context.hooked, facts, "mlp_out", how, context.seed, context.tokens_at_once
    )
    other = mlp_of(model, layer, silent.partners[fact.edit])
    return lambda out: torch.stack([other[min(t, len(other) - 1)] for t in range(len(out))])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_mlps_lose_what_the_plain_model_loses(family, how):
    context = context_of(family, how)
    model, found = context.loaded.model, scan(context)
    assert found.usable == len(context.facts.all) > 1
    assert {s.part for s in found.scores} == {"mlp"}
    scores = {(s.variant, s.layer): s for s in found.scores}
    sides = {f.edit: SIDES[i % 3] for i, f in enumerate(context.facts.all)}
    for fact in context.facts.all:
        row, side = context.edits.index(fact.edit), sides[fact.edit]
        before = say(model, fact.ids, side)
        for layer in range(context.loaded.info.layers):
            with mlp_replaced(model, layer, replacement(context, how, fact, layer), side):
                lost = drops(before, say(model, fact.ids, side), fact.answer[0])
            for variant, value in zip(METRICS, lost, strict=True):
                assert scores[variant, layer].values[row] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("how", HOWS)
def test_no_batch_changes_the_result_nor_the_model(how):
    context = context_of("gptneox", how)
    before = snapshot(context.loaded.model)
    options = ScanOptions(ablation=how)
    whole = scan(context)
    parts = scan(scan_context("gptneox", EDITS, tokens_at_once=12, options=options))
    for one, other in zip(whole.scores, parts.scores, strict=True):
        assert other.values == pytest.approx(one.values, abs=1e-5, nan_ok=True)
    assert str(scan(context)) == str(whole)
    assert same(context.loaded.model, before)
    assert all(p.grad is None and not p.requires_grad for p in context.loaded.model.parameters())


def test_nothing_usable_is_said():
    context = context_of("llama")
    context.__dict__["facts"] = Facts((), ("7 edits not used",))
    found = scan(context)
    assert (found.scores, found.usable) == ((), 0)
    assert "7 edits not used" in found.notes
