"""What is compared at the recommended location: ways to ask, and ways to tune.

Under other protocols the first trial on T is tuned once more and asked in every way. Each recipe is
compared at its own best rate, found on S as the location's own was, on the same parts of T.
"""

from collections.abc import Sequence
from dataclasses import replace

from locscope.records import Trial, TrialRecord
from locscope.selection.choice import best_per_location
from locscope.selection.grids import climbed
from locscope.selection.space import Space
from locscope.workflows.search.holdout import on_t
from locscope.workflows.search.stages import Evidence, TrialRunner

ROLES = ("recommended", "runner-up")
"""Whose answers under other protocols are shown."""
PROTOCOLS_STAGE = "other protocols"


def other_protocols(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the protocols; not asked for, nothing is run."""
    if not runner.plan.settings.thorough:
        return evidence
    wanted = [contender for contender in evidence.held_out if contender.role in ROLES]
    return replace(evidence, panels=runner.protocols(PROTOCOLS_STAGE, wanted))


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

    # From a rate of its own: where fewer numbers are stepped, one rate moves the loss by less.
    records = climbed(runner.starting_rate(first), run, space.objective)
    return best_per_location(records, space.objective)[0].record
