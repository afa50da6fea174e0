"""The edits that will be made: recipes fitted to their number, and the final trial on all of them.

`edit --config` repeats that trial, so what a search says is what happens when it is followed.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TypeVar

from locscope.recommendation.finalists import Finalist, reason_for
from locscope.recommendation.fitting import CLOSE, KEPT_FREE, first_of, fit, together
from locscope.recommendation.looser_bounds import Relaxed, at_count, cost_of_bound, judged
from locscope.records import Trial, TrialRecord, default_batch
from locscope.scoring.objectives import Objective, merit
from locscope.selection.choice import Best
from locscope.workflows.early.edits import deployed_edits
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.stages import Evidence, TrialRunner

FIT, DEPLOYED = "fitting to the edits", "deployed"
ALL = "all"
"""The split of trials that tune edits of S, V and T together."""

Result = TypeVar("Result")
# The stage runs what these yield: were they to run it themselves, three more of our own functions
# would stand between the command and a step.
Fitting = Generator[Sequence[Trial], Sequence[TrialRecord], Result]
"""Yields the trials to run next, and is sent their records."""


def deploy(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage on all edits: fits the recipes of the finalists that are left, and tunes what is
    used as it will be.

    `looser` is the bound that S led to. Where it is not the one to go by at this number of edits,
    recipes are fitted again within that one.
    """
    plan, finalists, looser = runner.plan, evidence.finalists, evidence.looser
    edits = deployed_edits(plan.given, plan.settings)
    strict = runner.objective.strict
    left = [finalist for finalist in finalists if _is_left(finalist, finalists[0], strict)]
    asked = replace(plan.objective, bound_margin=plan.objective.bound_margin * KEPT_FREE)
    fitting = _fit(plan, left, edits, asked, looser)
    trials = next(fitting)
    while True:
        records = runner.trials(FIT, trials, plan.given.edits)
        try:
            trials = fitting.send(records)
        except StopIteration as finished:
            fitted, at_this_count = finished.value
            break
    objective = at_this_count.objective if at_this_count else asked
    used = first_of(fitted, objective.strict)
    trial = deployed_trial(used.record, edits)
    # Neighbours that were lent are edits themselves, and tuned here: the suite is about the edits
    # as they were given, which have nothing to keep.
    (record,) = runner.trials(DEPLOYED, [trial], plan.given.edits)
    reason = (
        reason_for(finalists, strict, plan.settings.non_inferiority)
        if used is fitted[0]
        else _reason(used, fitted[0])
    )
    tried, points = _all_tried(fitted), at_this_count.points if at_this_count else ()
    return replace(
        evidence,
        # Stable: the others stay in their order.
        finalists=tuple(sorted(finalists, key=lambda one: one.location != used.location)),
        deployed=record,
        fitted=tried,
        reason=reason,
        points=points or cost_of_bound(tried, plan.objective),
        looser=at_this_count,
    )


def _all_tried(fitted: Sequence[Best]) -> tuple[TrialRecord, ...]:
    return tuple(record for best in fitted for record in best.tried)


def deployed_trial(fitted: TrialRecord, edits: Sequence[str]) -> Trial:
    """The final trial: all these edits tuned and measured, drift read on texts for reporting."""
    return replace(
        fitted.trial, edits=tuple(edits), rung=DEPLOYED, judged=(), choosing=False, thorough=True
    )


def _is_left(finalist: Finalist, first: Finalist, objective: Objective) -> bool:
    """The chosen, and the runner-up where it is close on S and V: others would not be used."""
    if finalist is first:
        return True
    return merit(finalist.measures, objective) >= merit(first.measures, objective) - CLOSE


def _fit(
    plan: Plan,
    finalists: Sequence[Finalist],
    edits: Sequence[str],
    asked: Objective,
    looser: Relaxed | None,
) -> Fitting[tuple[list[Best], Relaxed | None]]:
    """Asks for what fitting every finalist takes; returns their best recipes, and the looser bound
    to go by at this number of edits, within which all are fitted again where it is another."""
    objective = looser.objective if looser else asked
    fitted = yield from _side_by_side([_fit_one(plan, one, edits, objective) for one in finalists])
    at_this_count = at_count(_all_tried(fitted), asked, looser)
    if at_this_count != looser:
        objective, first = at_this_count.objective if at_this_count else asked, fitted
        again = yield from _side_by_side(
            [_fit_one(plan, one, edits, objective) for one in finalists]
        )
        fitted = [together(*both, objective.strict) for both in zip(first, again, strict=True)]
    return fitted, at_this_count


def _side_by_side(fittings: Sequence[Fitting[Best]]) -> Fitting[list[Best]]:
    """Goes through several at once: each round asks for what all of them want next, which can then
    run side by side."""
    asked, found = {n: next(one) for n, one in enumerate(fittings)}, dict[int, Best]()
    while asked:
        records = iter((yield [trial for trials in asked.values() for trial in trials]))
        answers = {n: [next(records) for _ in trials] for n, trials in asked.items()}
        asked = {}
        for n, answer in answers.items():
            try:
                asked[n] = fittings[n].send(answer)
            except StopIteration as finished:
                found[n] = finished.value
    return [found[n] for n in range(len(fittings))]


def _fit_one(
    plan: Plan, finalist: Finalist, edits: Sequence[str], objective: Objective
) -> Fitting[Best]:
    """Asks for trials until the best recipe of the location is known."""
    batch = plan.settings.batch_size
    trial = _on_all_edits(plan, finalist.best.record.trial, edits)
    first = replace(trial.recipe, batch=batch or default_batch(len(edits)))
    asking = fit(first, objective.strict, batches=batch is None)
    recipes = next(asking)
    while True:
        records = yield [replace(trial, recipe=recipe) for recipe in recipes]
        try:
            recipes = asking.send([judged(record, objective) for record in records])
        except StopIteration as finished:
            return finished.value


def _on_all_edits(plan: Plan, trial: Trial, edits: Sequence[str]) -> Trial:
    """The trial on these edits; judged by those of S and V, as T is only reported on."""
    choosing = set(plan.choosing)
    return replace(
        trial,
        edits=tuple(edits),
        judged=tuple(edit for edit in edits if edit in choosing),
        split=ALL,
        rung="fit",
        edit_set=plan.given.fingerprint,
    )


def _reason(used: Best, first: Best) -> str:
    """Why another than the first of S and V is used."""
    return (
        f"{first.location} was first on S and V; on all edits to be made {used.location} "
        f"{_better(used.record, first.record)} (score {used.record.score:.3f} and "
        f"{first.record.score:.3f} on the edits of S and V)"
    )


def _better(used: TrialRecord, first: TrialRecord) -> str:
    """In what one is better than the other, by the bounds as they are left to fitting."""
    if used.violated:
        return "breaks bounds by less"
    if first.violated:
        return "keeps the bounds with the margin below them"
    more = used.measure("reliability").value - first.measure("reliability").value
    return "is better" if used.score >= first.score else f"makes {more:.0%} more of the edits"
