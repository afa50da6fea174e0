from dataclasses import replace
from math import isnan

import pytest
from worlds import EDITS, MATERIAL, same, snapshot, world

from locscope.evaluation.measuring import measure_all
from locscope.evaluation.suite import observe
from locscope.locations import Location
from locscope.models.parts import put
from locscope.records import Recipe, Trial, TrialRecord, dumps, loads
from locscope.scoring.bounds import bound_of
from locscope.scoring.objectives import BALANCED, OBJECTIVES
from locscope.tuning import collapse
from locscope.tuning.collapse import FAR, SHOWN
from locscope.tuning.trial import run_trial

TRIAL = Trial(
    location=Location.parse("L1.mlp"),
    recipe=Recipe(lr=1e-2, batch=2, epochs=12),
    edits=tuple(edit.id for edit in EDITS),
    split="S",
    rung="sweep",
    seed=3,
    model="0",
    edit_set="0",
    thorough=True,
)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_trial_tunes_measures_and_gives_all_back(family):
    one = world(family)
    before = snapshot(one.model)
    record = run_trial(one.context, TRIAL).record
    assert same(one.model, before)
    assert all(p.grad is None and not p.requires_grad for p in one.model.parameters())
    assert record.status == "done"
    assert record.epochs[-1].loss < record.epochs[0].loss
    assert record.change_norm > 0
    assert record.flops > 0
    assert [outcome.edit for outcome in record.outcomes] == list(TRIAL.edits)
    assert record.measure("reliability").value > record.measure("reliability").before
    assert record.measure("perplexity_ratio").value != 1.0
    again = run_trial(one.context, TRIAL).record
    assert repr(replace(again, seconds=0.0)) == repr(replace(record, seconds=0.0))


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_what_was_measured_is_what_is_kept(stored):
    one = world("llama", stored)
    tuned = run_trial(one.context, TRIAL, keep=True)
    for piece, values in tuned.changes.items():
        assert str(values.dtype) == f"torch.{stored}"
        put(one.model.get_parameter(piece.name), piece, values.float())
    one.context.prefix_cache.enter(0)
    now = observe(one.suite, one.context.prefix_cache, TRIAL.edits)
    for found, kept in zip(measure_all(now, one.before), tuned.record.measures, strict=True):
        assert found.value == pytest.approx(kept.value, rel=1e-4, nan_ok=True), found.name


def test_the_weights_come_back_when_measuring_fails(monkeypatch):
    one = world("llama")
    before = snapshot(one.model)
    monkeypatch.setattr("locscope.tuning.trial.observe", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_trial(one.context, TRIAL)
    assert same(one.model, before)
    assert all(p.grad is None and not p.requires_grad for p in one.model.parameters())


def test_a_subset_is_tuned_and_measured_alone():
    one = world("llama")
    trial = replace(TRIAL, edits=("b",), thorough=False)
    record = run_trial(one.context, trial).record
    assert [outcome.edit for outcome in record.outcomes] == ["b"]
    assert record.epochs[0].steps == 1
    assert record.measure("forms").count == 0
    assert record.measure("generalization").count == 0


def test_prefixed_copies_are_tuned_too():
    one = world("llama", eval_texts=replace(MATERIAL, prefixes=("The old answer.",)))
    record = run_trial(one.context, TRIAL).record
    assert record.epochs[0].steps == 3, "three edits and a copy of each, two a batch"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_weights_that_blow_up_give_a_record_that_says_so(value, monkeypatch):
    one = world("llama")
    before = snapshot(one.model)
    trial = replace(TRIAL, recipe=replace(TRIAL.recipe, lr=1e30))
    if value is not None:
        monkeypatch.setattr(
            "locscope.tuning.master_weights.MasterWeights.write_back",
            lambda self: [p.data.fill_(value) for p in self.parameters],
        )
    record = run_trial(one.context, trial).record
    assert same(one.model, before)
    ratio = record.measure("perplexity_ratio")
    assert isnan(ratio.value)
    assert ratio.count == 3
    assert any("perplexity_ratio of 3 items is not a finite number" in v for v in record.violated)
    assert record.score == 0
    text = dumps(record)
    assert repr(loads(TrialRecord, text)) == repr(record)


def test_for_choosing_a_collapsed_model_is_given_up_else_it_is_measured_to_the_end(monkeypatch):
    one = world("llama")
    monkeypatch.setattr(collapse, "SHOWN", 1.0)
    strict = replace(BALANCED, bounds=(bound_of("perplexity_ratio<=1.001"),))
    context = one.context
    far = replace(TRIAL, choosing=True, recipe=replace(TRIAL.recipe, lr=0.1, stop_below=0.0))
    record = run_trial(context, far, strict).record
    assert record.status == f"given up after {len(record.epochs)} of 12 epochs"
    assert len(record.epochs) in (5, 10)
    assert record.measure("perplexity_ratio").value > 1.001**FAR
    knee, reported = replace(strict, knee=True), replace(far, choosing=False)
    for trial, objective in ((reported, strict), (far, knee), (far, BALANCED)):
        record = run_trial(context, trial, objective).record
        assert (record.status, len(record.epochs)) == ("done", 12)
    monkeypatch.undo()
    record = run_trial(context, far, strict).record
    assert 1.001**FAR < record.measure("perplexity_ratio").value < SHOWN
    assert record.status == "done", "what looser bounds would give is still to be shown"


def test_for_choosing_bounds_leave_room_else_they_are_those_asked_for():
    one = world("llama")
    tuned = replace(TRIAL, choosing=True, recipe=replace(TRIAL.recipe, lr=0.01))
    drift = run_trial(one.context, tuned).record.measure("kl").value
    assert drift > 0
    objective = replace(BALANCED, bounds=(bound_of(f"kl<={1.1 * drift}"),), bound_margin=0.4)
    for choosing in (True, False):
        record = run_trial(one.context, replace(tuned, choosing=choosing), objective).record
        assert bool(record.violated) == choosing
    roomless = replace(objective, bound_margin=0.0)
    assert not run_trial(one.context, tuned, roomless).record.violated


def test_what_goes_by_what_is_kept_gives_up_a_ruined_model_without_any_bound(monkeypatch):
    one = world("llama")
    far = replace(TRIAL, choosing=True, recipe=replace(TRIAL.recipe, lr=0.1, stop_below=0.0))
    objective = OBJECTIVES["capability-first"]
    record = run_trial(one.context, far, objective).record
    assert (record.status, len(record.epochs)) == ("done", 12)
    monkeypatch.setattr("locscope.tuning.collapse.RUINED", 1.001)
    record = run_trial(one.context, far, objective).record
    assert record.status == f"given up after {len(record.epochs)} of 12 epochs"


def test_work_is_counted_in_passes():
    one = world("llama")
    few = replace(TRIAL, recipe=replace(TRIAL.recipe, epochs=1, stop_below=0.0, skip_below=0.0))
    many = replace(few, recipe=replace(few.recipe, epochs=3))
    deep = replace(few, recipe=replace(few.recipe, epochs=3, order="depth-first", batch=1))
    none = replace(few, recipe=replace(few.recipe, epochs=0))
    flops = [run_trial(one.context, t).record.flops for t in (none, few, many, deep)]
    assert flops[2] - flops[0] == pytest.approx(3 * (flops[1] - flops[0]))
    assert flops[3] == pytest.approx(flops[2])
