from dataclasses import replace
from math import isnan, nan

import pytest
import torch
from reference.weight_scans import answer_loss, forecast, gradients, mean_of
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.locations import Location
from locscope.models.parts import slices
from locscope.scans.gradients.step_forecast import halves, prepared
from locscope.scans.run import run_scan

FEW = SCAN_EDITS[:5]


def lone(edit):
    """Without a rephrase, without a neighbour."""
    return replace(edit, rephrases=(), neighbours=())


def scored(context):
    return {(s.variant, s.layer, s.part): s for s in run_scan("step-forecast", context).scores}


def question_loss(model, question, pads=0):
    """Mean over the answer's tokens and the stop token."""
    row = question.row
    count = len(row.ids) - row.answer + 1
    return answer_loss(model, row.ids, row.answer, row.final, pads) / count


def continuations(context):
    """Edit to the ids of its neighbours with sampled continuations, and where these begin."""
    prefix_cache, cases = prepared(context)
    packed = prefix_cache.packed
    return {
        case.edit: [
            (packed.ids[packed.offsets[r] : packed.offsets[r + 1]].tolist(), int(packed.answers[r]))
            for r in case.neighbours
        ]
        for case in cases
    }


@pytest.mark.parametrize("family", [*SCAN_FAMILIES, "phi3", "opt"])
def test_it_is_what_gradients_of_single_texts_say(family):
    edits = [*FEW[:4], lone(FEW[4])]
    context = scan_context(family, edits, num_hidden_layers=2, layer_types=None)
    model, found = context.loaded.model, scored(context)
    asked = {one.edit.id: one for one in context.suite.edits}
    fit = {
        e: gradients(model, lambda q=q: question_loss(model, q.target)) for e, q in asked.items()
    }
    again = {
        e: [gradients(model, lambda r=r: question_loss(model, r, pads=2)) for r in q.rephrases]
        or [fit[e]]
        for e, q in asked.items()
    }
    near = {
        e: [gradients(model, lambda p=p: answer_loss(model, *p, pads=-2)) for p in pairs]
        for e, pairs in continuations(context).items()
    }
    folds = halves(context)
    for location in context.loaded.info.grid:
        gains, damages, scores = {}, {}, []
        for mine, others in (folds, folds[::-1]):
            beside = [e for e in mine if near[e]]
            step = [fit[e] for e in others]
            gain, _ = forecast(model, location, step, [again[e] for e in mine], [near[beside[0]]])
            _, damage = forecast(model, location, step, [again[mine[0]]], [near[e] for e in beside])
            gains |= dict(zip(mine, gain.tolist(), strict=True))
            damages |= dict(zip(beside, damage.tolist(), strict=True))
            scores.append(gain.mean().clamp(min=0) ** 2 / damage.mean())
        key = (location.layer, location.part)
        assert found["gain", *key].values == pytest.approx(
            [gains[e] for e in context.edits], rel=1e-4, abs=1e-4
        ), location
        assert found["damage", *key].values == pytest.approx(
            [damages.get(e, nan) for e in context.edits], rel=1e-3, abs=1e-4, nan_ok=True
        ), location
        expected = float(sum(scores) / 2)
        assert found["forecast", *key].score == pytest.approx(expected, rel=1e-3, abs=1e-6), (
            location
        )


def test_the_gain_is_what_rephrases_gain_by_a_step():
    """Weights move against the sign of the fitting edits' gradient; the scored ones' loss falls."""
    context = scan_context("gpt2", FEW)
    model, location, rate = context.loaded.model, Location.parse("L1.mlp"), 1e-5
    mine, others = halves(context)
    asked = {one.edit.id: one for one in context.suite.edits}
    values = dict(zip(context.edits, scored(context)["gain", 1, "mlp"].values, strict=True))
    step = mean_of(
        [gradients(model, lambda e=e: question_loss(model, asked[e].target)) for e in others]
    )
    questions = [question for e in mine for question in asked[e].rephrases]
    model.double()

    def loss():
        return float(sum(question_loss(model, question) for question in questions))

    before = loss()
    for piece in slices(model, location):
        model.get_parameter(piece.name).sub_(rate * step[piece.name].sign())
    gained = (before - loss()) / len(questions)
    expected = rate * sum(values[e] for e in mine) / len(mine)
    assert gained == pytest.approx(expected, rel=0.05)


def test_edits_fit_the_step_or_are_scored():
    context = scan_context("llama", SCAN_EDITS)
    grouped = replace(context, groups=(("p", "q", "unknown"), ("r", "s", "t")))
    for one in (context, grouped, replace(grouped, seed=3)):
        first, second = halves(one)
        assert sorted((*first, *second)) == sorted(one.edits)
        assert abs(len(first) - len(second)) == 1
        for group in one.groups:
            inside = set(group) & set(one.edits)
            assert inside <= set(first) or inside <= set(second)
    assert len({halves(replace(context, seed=seed)) for seed in range(5)}) > 1


def test_neighbours_go_on_as_long_as_the_models_own_answer():
    context = scan_context("llama", FEW)
    for one in context.suite.edits:
        for question, (ids, start) in zip(
            one.neighbours, continuations(context)[one.edit.id], strict=True
        ):
            assert tuple(ids[:start]) == question.prompt
            assert len(ids) - start == max(1, len(question.ids))
    other = continuations(replace(context, seed=1))
    assert other != continuations(context) == continuations(context)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_neither_groups_of_layers_nor_batches_change_it(family):
    context = scan_context(family, FEW)
    model, whole = context.loaded.model, scored(context)
    before = snapshot(model)
    prefix_cache = PrefixCache(model, context.suite.packed, Budget(0, 1 << 30), tokens_at_once=1)
    for key, score in scored(replace(context, prefix_cache=prefix_cache)).items():
        assert score.score == pytest.approx(whole[key].score, rel=1e-4, abs=1e-5), key
    assert same(model, before)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not any("_Stepping" in type(module).__name__ for module in model.modules())


def test_without_neighbours_nothing_is_forecast():
    context = scan_context("llama", [replace(edit, neighbours=()) for edit in FEW])
    result = run_scan("step-forecast", context)
    for score in result.scores:
        assert isnan(score.score) == (score.variant != "gain"), score
    assert any("no neighbours" in note for note in result.notes)


def test_what_edits_lack_is_said():
    edits = [FEW[0], FEW[1], FEW[2], lone(FEW[3])]
    notes = run_scan("step-forecast", scan_context("llama", edits)).notes
    assert any("1 edits without rephrases" in note for note in notes)
    assert any("1 edits without neighbours" in note for note in notes)
    assert run_scan("step-forecast", scan_context("llama", FEW)).notes == ()


def test_one_group_of_edits_cannot_be_fitted_and_scored():
    context = replace(scan_context("llama", FEW), groups=(tuple(edit.id for edit in FEW),))
    result = run_scan("step-forecast", context)
    assert (result.scores, result.usable) == ((), 0)
    assert any("one group" in note for note in result.notes)


def test_a_location_that_hurts_rephrases_is_forecast_nothing():
    found = scored(scan_context("llama", FEW))
    worse = [key for key, s in found.items() if key[0] == "gain" and max(s.values) < 0]
    for _, layer, part in worse:
        assert found["forecast", layer, part].score == 0
    assert all(s.score >= 0 for (variant, *_), s in found.items() if variant == "forecast")
    assert torch.isfinite(torch.tensor([s.score for s in found.values()])).all()
