from dataclasses import replace
from functools import cache
from math import isnan

import pytest
import torch
from reference.ablation import drops, head_replaced, head_width, say, z_of
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.errors import UsageError
from locscope.forward.prompts import prompts_of
from locscope.interp.ablation import HEAD_KINDS, head_effects, visits, without_each_head
from locscope.interp.effects import drops as fast_drops
from locscope.interp.facts import Fact, Facts
from locscope.interp.metrics import METRICS
from locscope.interp.silencing import ablation_of
from locscope.records import ScanOptions
from locscope.scans.interventions.head_ablation import scan

HOWS = ("zero", "mean", "resample")
SIDES = ("left", "right", "none")


EDITS = tuple(edit for edit in SCAN_EDITS if edit.id in "pqst")
"""Prompts of 9, 12, 12 and 16 tokens; GPT-2 has an answer to two of them."""


@cache
def world(family):
    return scan_context(family, EDITS)


def context_of(family, how="zero"):
    """The model, its hooked model and its facts are made once for all tests."""
    one = world(family)
    context = replace(one, options=ScanOptions(ablation=how))
    context.__dict__.update(hooked=one.hooked, facts=one.facts)
    return context


def partner(context, fact):
    facts, most = context.facts.all, context.tokens_at_once
    silent = ablation_of(context.hooked, facts, "z", "resample", context.seed, most)
    return silent.partners[fact.edit]


def replacement(context, how, fact, layer, columns):
    """What a head's z of a fact becomes, from the plain model."""
    model = context.loaded.model
    if how == "zero":
        return torch.zeros_like
    if how == "mean":
        every = torch.cat([z_of(model, layer, one.ids) for one in context.facts.all])
        mean = every.mean(0)[columns]
        return lambda z: z * 0.0 + mean
    other = z_of(model, layer, partner(context, fact))[:, columns]
    return lambda z: torch.stack([other[min(t, len(other) - 1)] for t in range(len(z))])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_heads_lose_what_the_plain_model_loses(family, how):
    context = context_of(family, how)
    model, width = context.loaded.model, head_width(context.loaded.model)
    found = scan(context)
    assert found.usable == len(context.facts.all) > 1
    scores = {(s.variant, s.layer, s.head): s for s in found.scores}
    sides = {f.edit: SIDES[i % 3] for i, f in enumerate(context.facts.all)}
    for fact in context.facts.all:
        row, side = context.edits.index(fact.edit), sides[fact.edit]
        before = say(model, fact.ids, side)
        for layer in range(context.loaded.info.layers):
            lost = []
            for head in range(4):
                columns = slice(head * width, (head + 1) * width)
                value = replacement(context, how, fact, layer, columns)
                with head_replaced(model, layer, head, value, side):
                    lost.append(drops(before, say(model, fact.ids, side), fact.answer[0]))
            for i, variant in enumerate(METRICS):
                for head in range(4):
                    value = scores[variant, layer, head].values[row]
                    assert value == pytest.approx(lost[head][i], abs=1e-5)
                together = scores[variant, layer, -1].values[row]
                assert together == pytest.approx(sum(abs(one[i]) for one in lost), abs=4e-5)


def test_scores_are_means_of_requests_with_intervals():
    context = context_of("llama")
    for score in scan(context).scores:
        values = [value for value in score.values if not isnan(value)]
        assert len(score.values) == len(context.edits)
        assert score.count == len(values) == len(context.facts.all)
        assert score.score == pytest.approx(sum(values) / len(values))
        assert score.low <= score.score <= score.high
        assert score.part == "attn"


@pytest.mark.parametrize("how", HOWS)
def test_no_batch_changes_the_result(how):
    whole, options = scan(context_of("gemma2", how)), ScanOptions(ablation=how)
    for tokens in (100, 40):
        parts = scan(scan_context("gemma2", EDITS, tokens_at_once=tokens, options=options))
        for one, other in zip(whole.scores, parts.scores, strict=True):
            assert other.values == pytest.approx(one.values, abs=1e-5, nan_ok=True)


def test_the_model_is_left_as_it_was():
    context = context_of("qwen2")
    model, before = context.loaded.model, snapshot(context.loaded.model)
    modules = [name for name, _ in model.named_modules()]
    bridged = context.hooked.bridged
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in bridged.modules()]
    first = scan(context)
    # As text, where NaN equals NaN.
    assert str(scan(context)) == str(first)
    assert same(model, before)
    assert [name for name, _ in model.named_modules()] == modules
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in bridged.modules()] == hooks
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_putting_back_a_heads_own_output_changes_nothing():
    context = context_of("gptneox")
    facts = context.facts.all
    prompts = prompts_of(context.hooked.bridged, [fact.ids for fact in facts])
    ways = ((v, [v.seen["z"]]) for v in visits(context.hooked, prompts, HEAD_KINDS))
    model = context.loaded.model
    lost = head_effects(model, context.hooked, ways, fast_drops(model, facts), 16384)
    assert lost.shape == (len(facts), 3, 4, 2)
    assert float(lost.abs().max()) < 1e-5


def test_edits_that_hold_in_other_layers_run_on_the_bridged_with_the_same_result():
    """A hook that changes nothing sends the rows through the hooked model's own attention."""
    context = context_of("gemma2")
    prompts = prompts_of(context.hooked.bridged, [fact.ids for fact in context.facts.all])
    nothing = {"blocks.3.attn.hook_q": lambda value: None}
    for here in visits(context.hooked, prompts, HEAD_KINDS):
        zeros = torch.zeros_like(here.seen["z"])
        given = context.loaded.model, context.hooked, here, zeros, 16384
        torch.testing.assert_close(
            without_each_head(*given, nothing), without_each_head(*given), atol=1e-5, rtol=0
        )


def test_nothing_is_computed_that_no_answer_needs():
    """Tokens through the plain model's modules while the heads of one layer are silenced: none
    through its own attention, and of the last block only last tokens where it works on each
    alone."""
    context = context_of("qwen2")
    facts, model = context.facts.all, context.loaded.model
    prompts = prompts_of(context.hooked.bridged, [fact.ids for fact in facts])
    here = next(visits(context.hooked, prompts, HEAD_KINDS))
    names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp")
    counts = {(layer, name): 0 for layer in range(3) for name in names}

    def counting(key):
        def count(module, args):
            counts[key] += args[0].shape[0] * args[0].shape[1]

        return count

    layers = model.model.layers
    handles = [
        layers[layer].get_submodule(name).register_forward_pre_hook(counting((layer, name)))
        for layer, name in counts
    ]
    zeros = torch.zeros_like(here.seen["z"])
    without_each_head(model, context.hooked, here, zeros, 16384)
    for handle in handles:
        handle.remove()
    rows, tokens = 4 * len(facts), 4 * prompts.ids.numel()
    assert [counts[0, name] for name in names] == [0, 0, 0, tokens]
    assert [counts[1, name] for name in names] == [tokens] * 4
    assert [counts[2, name] for name in names] == [rows, tokens, rows, rows]


def _fact(name, *ids):
    return Fact(name, ids, None, (5,), False, "")


def test_resampled_prompts_are_others_of_the_same_length_where_there_are_any():
    hooked = context_of("llama").hooked
    facts = [_fact("a", 0, 1, 2), _fact("b", 0, 3, 4), _fact("c", 0, 5, 6), _fact("d", 0, 9)]
    facts += [_fact("e", 0, 1, 2)]
    chosen = [ablation_of(hooked, facts, "z", "resample", seed, 64) for seed in range(20)]
    assert {c.partners["a"] for c in chosen} == {(0, 3, 4), (0, 5, 6)}
    assert all(c.partners["a"] == c.partners["e"] for c in chosen)
    assert {c.partners["d"] for c in chosen} == {(0, 1, 2), (0, 3, 4), (0, 5, 6)}
    alone = ablation_of(hooked, [facts[0], facts[4]], "z", "resample", 0, 64)
    assert alone.facts == ()


def test_nothing_usable_is_said_and_an_unknown_ablation_refused():
    context = context_of("llama")
    context.__dict__["facts"] = Facts((), ("7 edits not used",))
    found = scan(context)
    assert (found.scores, found.usable) == ((), 0)
    assert "7 edits not used" in found.notes
    with pytest.raises(UsageError, match="unknown ablation 'zeros': did you mean zero"):
        scan(context_of("llama", "zeros"))
