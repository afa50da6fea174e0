"""Validating on V: the finalists of S are tuned afresh on other edits, and both choose."""

from collections.abc import Sequence
from dataclasses import replace

from locscope.recommendation.finalists import Finalist, in_order
from locscope.records import Trial
from locscope.selection.choice import Best
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.select import ranking
from locscope.workflows.search.stages import Evidence, TrialRunner

STAGE = "validating on V"


def validate(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage on V: a choice among the first of S."""
    locations = ranking(evidence.space, evidence.selected)
    return replace(evidence, finalists=choice_among(runner, locations))


def choice_among(runner: TrialRunner, locations: Sequence[Best]) -> tuple[Finalist, ...]:
    """The finalists in the order of S and V together, the chosen one first."""
    settings, count = runner.plan.settings, len(runner.plan.on_v)
    first = locations[: settings.finalists]
    trials = [on_v(runner.plan, best, i) for best in first for i in range(count)]
    records = dict(zip((t.id for t in trials), runner.trials(STAGE, trials), strict=True))
    finalists = [
        Finalist(best, tuple(records[t.id] for t in trials[n * count : (n + 1) * count]))
        for n, best in enumerate(first)
    ]
    return in_order(finalists, runner.objective.strict, settings.non_inferiority)


def on_v(plan: Plan, best: Best, subset: int) -> Trial:
    """What did best on S as a trial on a subset of V."""
    return replace(
        best.record.trial, edits=plan.on_v[subset], split="V", rung=f"validate-{subset + 1}"
    )
