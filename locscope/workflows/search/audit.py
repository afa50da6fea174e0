"""The audit: what tuning showed at locations that were drawn before any scan was read.

Every candidate at a quick evaluation, and some drawn by the seed in full at their starting rates.
What a strategy has run of it is not run again, the rest is counted apart from choosing.
"""

from collections.abc import Sequence
from dataclasses import replace

from locscope.locations import Location
from locscope.records import TrialRecord
from locscope.scorecard.audit import Audit
from locscope.selection.space import FULL, Space, TrialRequest, at_rung
from locscope.selection.strategies.race import first_rung
from locscope.workflows.search.stages import Evidence, TrialRunner, trials_of


def audit(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the trials that scans are judged by; not asked for, nothing is run."""
    plan, space, selected = runner.plan, evidence.space, evidence.selected
    if not plan.settings.audit:
        return evidence
    quick, full = audit_requests(space, selected, plan.settings.audit)
    records = runner.trials("audit", trials_of(plan, (*quick, *full)))
    held = Audit(
        quick_trials=records[: len(quick)],
        full=swept(space, selected) if is_swept(space, selected) else records[len(quick) :],
        groups=plan.groups_of(plan.parts.select),
        rule=space.depth_rule,
    )
    return replace(evidence, audit=held)


def audit_requests(
    space: Space, selected: Sequence[TrialRecord], size: int
) -> tuple[tuple[TrialRequest, ...], tuple[TrialRequest, ...]]:
    """A quick evaluation of every candidate, and so many trials in full; where the strategy ran
    all candidates in full at their starting rates, these trials alone."""
    tried = _tried(selected)
    started = all((c.location, c.lr) in tried for c in space.candidates)
    locations = tuple(c.location for c in space.candidates) if started else space.drawn[:size]
    full = tuple(TrialRequest(name, space.of(name).lr, space.full) for name in locations)
    return (() if started else first_rung(space)), full


def is_swept(space: Space, selected: Sequence[TrialRecord]) -> bool:
    """Whether the strategy ran every location at all its rates.

    Only then do locations count at the best of them: had some been tried at more than others, what
    a strategy thinks of a location would show in what it is worth.
    """
    tried = _tried(selected)
    return all((c.location, rate) in tried for c in space.candidates for rate in c.rates)


def _tried(selected: Sequence[TrialRecord]) -> set[tuple[Location, float]]:
    full = at_rung(selected, FULL)
    return {(record.trial.location, record.trial.recipe.lr) for record in full}


def swept(space: Space, selected: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """What a sweep ran at every location alike: not the rates that the best of them got besides."""
    alike = {
        (candidate.location, rate) for candidate in space.candidates for rate in candidate.rates
    }
    full = at_rung(selected, FULL)
    return tuple(
        record for record in full if (record.trial.location, record.trial.recipe.lr) in alike
    )
