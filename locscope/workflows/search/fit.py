"""The edits that will be made: recipes fitted to their number, and the final trial on all of them.

`edit --config` repeats that trial, so what a search says is what happens when it is followed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from locscope.evaluation.build_suite import prepare
from locscope.evaluation.suite import observe
from locscope.execution.local import Worker
from locscope.forward.prefix_cache import PrefixCache
from locscope.progress import stage
from locscope.recommendation.finalists import Choice, Finalist
from locscope.recommendation.fitting import BOUND_MARGIN, CLOSE, Fitted, first_of, fit, together
from locscope.recommendation.looser_bounds import Relaxed, at_count, cost_of_bound, judged
from locscope.recommendation.recommend import Deployed
from locscope.records import Edit, Recipe, StageCost, Trial, TrialRecord, default_batch
from locscope.scoring.objectives import Objective, merit
from locscope.workflows.search.plan import deployed_edits
from locscope.workflows.search.trial_runner import TrialRunner

FIT, DEPLOYED, SUITE = "fitting to the edits", "deployed", "evaluation suite"
ALL = "all"
"""The split of trials that tune edits of S, V and T together."""


@dataclass(frozen=True)
class Deploying:
    """The choice as it is after fitting, and the trial on the edits that will be made.

    `reason` says why another than the first of S and V is used, or repeats why it is the first;
    `looser` is the bound that recipes were fitted within where the one asked for leaves nothing
    useful.
    """

    choice: Choice
    deployed: Deployed
    looser: Relaxed | None


def deploy(runner: TrialRunner, choice: Choice, looser: Relaxed | None = None) -> Deploying:
    """Fits the recipes of the finalists that are left, and tunes what is used as it will be.

    `looser` is the bound that S led to. Where it is not the one to go by at this number of edits,
    recipes are fitted again within that one.
    """
    plan = runner.plan
    edits = deployed_edits(plan.given, plan.settings)
    worker = worker_for(runner)
    left = [
        one
        for one in choice.finalists
        if _is_left(one, choice.finalists[0], runner.objective.strict)
    ]
    asked = replace(plan.objective, bound_margin=plan.objective.bound_margin * BOUND_MARGIN)
    objective = looser.objective if looser else asked
    fitted = [_fit(runner, worker, one, edits, objective) for one in left]
    tried = [record for one in fitted for record in one.tried]
    found = at_count(tried, asked, looser)
    if found != looser:
        objective = found.objective if found else asked
        again = [_fit(runner, worker, one, edits, objective) for one in left]
        fitted = [together(*both, objective.strict) for both in zip(fitted, again, strict=True)]
    used = first_of(fitted, objective.strict)
    record = runner.trials(DEPLOYED, [deployed_trial(used.record, edits)], worker)[0]
    ordered = _reordered(choice, used, fitted[0])
    tried = [one for some in fitted for one in some.tried]
    points = cost_of_bound(tried, plan.objective)
    made = Deployed(record, tuple(fitted), len(plan.given.edits), points)
    return Deploying(ordered, made, found)


def deployed_trial(fitted: TrialRecord, edits: Sequence[str]) -> Trial:
    """The final trial: all these edits tuned and measured, drift read on texts for reporting."""
    return replace(
        fitted.trial, edits=tuple(edits), rung=DEPLOYED, judged=(), choosing=False, thorough=True
    )


def _is_left(one: Finalist, first: Finalist, objective: Objective) -> bool:
    """The chosen, and the runner-up where it is close on S and V: others would not be used."""
    return (
        one is first or merit(one.measures, objective) >= merit(first.measures, objective) - CLOSE
    )


def _fit(
    runner: TrialRunner, worker: Worker, one: Finalist, edits: Sequence[str], objective: Objective
) -> Fitted:
    plan, trial = runner.plan, one.best.record.trial
    choosing = set(plan.choosing)
    on_s_and_v = tuple(edit for edit in edits if edit in choosing)
    batch = plan.settings.batch_size or default_batch(len(edits))

    def run(recipes: Sequence[Recipe]) -> Sequence[TrialRecord]:
        trials = [
            replace(
                trial,
                recipe=recipe,
                edits=tuple(edits),
                judged=on_s_and_v,
                split=ALL,
                rung="fit",
                edit_set=plan.given.fingerprint,
            )
            for recipe in recipes
        ]
        return [judged(record, objective) for record in runner.trials(FIT, trials, worker)]

    first = replace(trial.recipe, batch=batch)
    return fit(first, run, objective.strict, batches=plan.settings.batch_size is None)


def _reordered(choice: Choice, used: Fitted, first: Fitted) -> Choice:
    if used is first:
        return choice
    chosen = next(one for one in choice.finalists if one.location == used.location)
    others = tuple(one for one in choice.finalists if one is not chosen)
    reason = (
        f"{first.location} was first on S and V; on all edits to be made {used.location} "
        f"{_better(used.record, first.record)} (score {used.record.score:.3f} and "
        f"{first.record.score:.3f} on the edits of S and V)"
    )
    return Choice((chosen, *others), reason)


def _better(used: TrialRecord, first: TrialRecord) -> str:
    """In what one is better than the other, by the bounds as they are left to fitting."""
    if used.violated:
        return "breaks bounds by less"
    if first.violated:
        return "keeps the bounds with the margin below them"
    more = used.measure("reliability").value - first.measure("reliability").value
    return "is better" if used.score >= first.score else f"makes {more:.0%} more of the edits"


def worker_for(runner: TrialRunner) -> Worker:
    """The trial runner's own, or one with an evaluation suite of the edits as they were given.

    Neighbours that were lent are edits themselves, and tuned here: they have nothing to keep.
    """
    plan, own = runner.plan, runner.worker
    if runner.answer is not None or plan.given.edits == plan.edit_set.edits:
        return own
    return suite_of(runner, plan.given.edits)


def suite_of(runner: TrialRunner, edits: Sequence[Edit]) -> Worker:
    """A worker whose evaluation suite is about these edits, on the texts of the search."""
    workspace, worker = runner.plan.workspace, runner.worker
    suite, prefix_cache = workspace.suite, workspace.prefix_cache
    began = time.perf_counter()
    prefix_cache.release()  # Two streams would not fit the budget.
    with stage(runner.progress, SUITE, 1):
        suite = prepare(
            suite.text_generator,
            edits,
            workspace.eval_texts,
            suite.prompt_format,
            prefix_cache.budget,
        )
        prefix_cache = PrefixCache(
            runner.plan.loaded.model, suite.packed, prefix_cache.budget, prefix_cache.tokens_at_once
        )
        before = observe(suite, prefix_cache, [edit.id for edit in edits])
    runner.costs.append(StageCost(SUITE, time.perf_counter() - began, 1, 0))
    context = replace(worker.context, suite=suite, prefix_cache=prefix_cache)
    return replace(worker, context=context, before=before)
