"""Recipes beside each other at the recommended location: what is best tuned of it.

Each recipe is compared at its own best rate, found on S as the location's own was, and is tuned and
measured on the same parts of T.
"""

from collections.abc import Sequence
from dataclasses import replace

from locscope.records import Trial, TrialRecord
from locscope.selection.choice import best_per_location
from locscope.selection.grids import climbed
from locscope.selection.space import Space
from locscope.workflows.search.holdout import on_t
from locscope.workflows.search.stages import Evidence, TrialRunner


def compare_recipes(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the recipes that the settings name; their trials are in the folder's records."""
    best, plan = evidence.held_out[0].best.record.trial, runner.plan
    for kind in plan.settings.recipes:
        record = _best_rate(runner, evidence.space, best, kind)
        trials = [on_t(plan, record, i) for i in range(len(plan.on_t))]
        runner.trials(f"recipe {kind} on T", trials)
    return evidence


def _best_rate(runner: TrialRunner, space: Space, trial: Trial, kind: str) -> TrialRecord:
    """The best trial on S over a grid of rates that begins where the first step is as wanted."""
    first = replace(trial, rung=f"recipe {kind}", recipe=replace(trial.recipe, kind=kind))

    def run(rates: Sequence[float]) -> Sequence[TrialRecord]:
        trials = [replace(first, recipe=replace(first.recipe, lr=lr)) for lr in rates]
        return runner.trials(f"recipe {kind}", trials)

    records = climbed(runner.starting_rate(first), run, space.objective)
    return best_per_location(records, space.objective)[0].record
