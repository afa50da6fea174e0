from dataclasses import replace
from functools import cache
from math import isnan

import pytest
import torch
from reference.ablation import angle, divergence, even_heads, head_replaced, say
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.forward.blocks import run_blocks
from locscope.forward.prompts import prompts_of
from locscope.interp.ablation import attending_evenly, visits
from locscope.interp.facts import Facts
from locscope.interp.hooked_model import hook_name, recording, with_hooks
from locscope.scans.interventions import sahara, ships
from locscope.scans.interventions.sahara import GROUP, leading, turned

BOTH = pytest.mark.parametrize("scan", [ships.scan, sahara.scan])
HEADS = range(4)
EDITS = tuple(edit for edit in SCAN_EDITS if edit.id in "pqst")


@cache
def world(family):
    """The model, its hooked model and its facts, made once for all tests that leave them as they
    are."""
    return scan_context(family, EDITS)


@pytest.mark.parametrize("family", [*SCAN_FAMILIES, "mistral", "gemma3", "phi3"])
def test_a_head_without_a_query_attends_evenly_to_all_that_its_mask_allows(family):
    context = (
        scan_context("llama", EDITS, attention_bias=True) if family == "llama" else world(family)
    )
    hooked, prompt = context.hooked, context.facts.all[0].ids
    config = context.loaded.model.config
    prompts = prompts_of(hooked.bridged, [prompt])
    windows = [getattr(config, "sliding_window", None) if f else None for f in _sliding(config)]
    assert any(windows) == (family in ("mistral", "gemma2", "gemma3"))
    for here, window in zip(visits(hooked, prompts, ("v", "z")), windows, strict=True):
        name = hook_name("pattern", here.layer)
        with (
            with_hooks(hooked, {hook_name("q", here.layer): torch.zeros_like}),
            recording(hooked, name) as seen,
        ):
            run_blocks(hooked.bridged, prompts.ids, here.layer, here.before)
        tokens = torch.arange(len(prompt))
        apart = tokens[:, None] - tokens[None]
        allowed = ((apart >= 0) & (apart < (window or len(prompt)))).float()
        even = allowed / allowed.sum(1, keepdim=True)
        torch.testing.assert_close(seen[name], even.expand_as(seen[name]), atol=1e-6, rtol=0)
        value = here.seen["v"]
        value = value.repeat_interleave(len(HEADS) // value.shape[2], dim=2)
        mean = torch.einsum("ts,bshd->bthd", even, value)
        torch.testing.assert_close(attending_evenly(hooked, here), mean, atol=1e-5, rtol=0)


def _sliding(config):
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [config.model_type == "mistral"] * config.num_hidden_layers
    return [kind == "sliding_attention" for kind in kinds]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_ships_shift_as_those_of_the_plain_model(family, side):
    context = world(family)
    model, found = context.loaded.model, ships.scan(context)
    assert found.usable == len(context.facts.all) > 1
    scores = {(s.variant, s.layer, s.head): s for s in found.scores}
    for fact in context.facts.all:
        row, before = context.edits.index(fact.edit), say(model, fact.ids, side)
        for layer in range(context.loaded.info.layers):
            shifts = {"undifferentiated": [], "scaling": []}
            for head in HEADS:
                with even_heads(model, [(layer, head)]):
                    shifts["undifferentiated"].append(
                        divergence(before, say(model, fact.ids, side))
                    )
                with head_replaced(model, layer, head, lambda z: 1e-5 * z):
                    shifts["scaling"].append(divergence(before, say(model, fact.ids, side)))
            for variant, expected in shifts.items():
                values = [scores[variant, layer, head].values[row] for head in HEADS]
                assert values == pytest.approx(expected, abs=1e-5)
                assert scores[variant, layer, -1].values[row] == pytest.approx(
                    sum(expected) / len(expected), abs=1e-5
                )


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_sahara_turns_and_groups_as_the_plain_model(family):
    context = world(family)
    model, facts, found = context.loaded.model, context.facts.all, sahara.scan(context)
    scores = {(s.variant, s.layer, s.head): s.score for s in found.scores}
    untouched, group = _states(model, facts, []), []
    for step in range(GROUP):
        angles = {}
        for layer in range(context.loaded.info.layers):
            for head in HEADS:
                if (layer, head) not in group:
                    states = _states(model, facts, [*group, (layer, head)])
                    angles[layer, head] = angle(untouched, states)
        if step == 0:
            for (layer, head), expected in angles.items():
                # In radians 1e-5, as all else.
                assert scores["angle", layer, head] == pytest.approx(expected, abs=6e-4)
            for layer in range(context.loaded.info.layers):
                mean = sum(angles[layer, head] for head in HEADS) / len(HEADS)
                assert scores["angle", layer, -1] == pytest.approx(mean, abs=6e-4)
        group.append(max(angles, key=angles.__getitem__))
        assert f"L{group[-1][0]} head {group[-1][1]} ({angles[group[-1]]:.3g} deg" in found.notes[0]
    places = [(layer, h) for layer in range(context.loaded.info.layers) for h in HEADS]
    ranks = {hook_name: 1 / rank for rank, hook_name in enumerate(group, 1)}
    assert [scores["group", *at] for at in places] == [ranks.get(at, 0.0) for at in places]
    for layer in range(context.loaded.info.layers):
        total = sum(ranks.get((layer, head), 0.0) for head in HEADS)
        assert scores["group", layer, -1] == pytest.approx(total)


def _states(model, facts, heads):
    with even_heads(model, heads):
        return torch.stack([say(model, fact.ids).state for fact in facts])


def test_sahara_is_no_mean_of_requests():
    context = world("llama")
    for score in sahara.scan(context).scores:
        assert score.part == "attn"
        assert score.values == ()
        assert isnan(score.low)
        assert isnan(score.high)
        assert score.count == len(context.facts.all)


def test_small_angles_keep_their_digits():
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for degrees in (90.0, 3.0, 1e-7, 0.0):
        turn = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        other = torch.stack([-turn.cos(), turn.sin(), 0 * turn])
        assert float(turned(one, other)) == pytest.approx(degrees, rel=1e-9, abs=1e-14)


def test_the_leading_vector_is_that_of_the_singular_value_decomposition():
    states = torch.randn(2, 5, 9)
    expected = torch.linalg.svd(states.double())[0][..., 0]
    torch.testing.assert_close(leading(states).abs(), expected.abs())


@BOTH
def test_no_batch_changes_the_result_nor_the_model(scan):
    context = world("qwen3")
    before = snapshot(context.loaded.model)
    whole = scan(context)
    parts = scan(scan_context("qwen3", EDITS, tokens_at_once=40))
    for one, other in zip(whole.scores, parts.scores, strict=True):
        assert other.values == pytest.approx(one.values, abs=1e-5, nan_ok=True)
        assert other.score == pytest.approx(one.score, abs=6e-4)
    assert str(scan(context)) == str(whole)
    assert same(context.loaded.model, before)
    assert all(p.grad is None and not p.requires_grad for p in context.loaded.model.parameters())


@BOTH
def test_too_few_requests_are_said(scan):
    context = replace(world("llama"))
    facts = context.facts.all[:1] if scan is sahara.scan else ()
    context.__dict__["facts"] = Facts(facts, ("7 edits not used",))
    found = scan(context)
    assert (found.scores, found.usable) == ((), 0)
    assert "7 edits not used" in found.notes
