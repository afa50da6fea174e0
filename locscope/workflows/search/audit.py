"""The audit: what tuning showed at locations that were drawn before any scan was read.

Every candidate at a quick evaluation, and some drawn by the seed in full at their starting rates.
What a strategy has run of it is not run again, the rest is counted apart from choosing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from locscope.records import ScanResult, Scorecard, TrialRecord
from locscope.scorecard.audit import Audit
from locscope.scorecard.scorecard import scorecard
from locscope.selection.space import FULL, Space, TrialRequest, at_rung
from locscope.selection.strategies.race import first_look
from locscope.workflows.search.trial_runner import TrialRunner


def audit(
    runner: TrialRunner, space: Space, chosen: Sequence[TrialRecord], scans: Sequence[ScanResult]
) -> Scorecard | None:
    """The scorecard of the scans; None where no audit is wanted."""
    size = runner.plan.settings.audit
    if not size:
        return None
    wanted = audit_asks(space, chosen, size)
    looks = [runner.trial(ask) for ask in wanted.looks]
    records = runner.trials("audit", [*looks, *(runner.trial(ask) for ask in wanted.full)])
    found = Audit(
        looks=records[: len(looks)],
        full=swept(space, chosen) if wanted.swept else records[len(looks) :],
        groups=runner.plan.groups_of(runner.plan.parts.select),
        rule=space.depth_rule,
    )
    return scorecard(scans, found, space.seed)


@dataclass(frozen=True)
class AuditAsks:
    """The trials that an audit rests on; `swept` where the strategy ran every location at its
    rates.

    Only then do locations count at the best of them: had some been tried at more than others, what
    a strategy thinks of a location would show in what it is worth.
    """

    looks: tuple[TrialRequest, ...]
    full: tuple[TrialRequest, ...]
    swept: bool


def audit_asks(space: Space, chosen: Sequence[TrialRecord], size: int) -> AuditAsks:
    """A look at every candidate and so many in full; where all were run in full, these alone."""
    full = at_rung(chosen, FULL)
    tried = {(record.trial.location, record.trial.recipe.lr) for record in full}
    started = all((one.location, one.lr) in tried for one in space.candidates)
    locations = tuple(one.location for one in space.candidates) if started else space.drawn[:size]
    return AuditAsks(
        looks=() if started else first_look(space),
        full=tuple(
            TrialRequest(location, space.of(location).lr, space.full) for location in locations
        ),
        swept=all((one.location, rate) in tried for one in space.candidates for rate in one.rates),
    )


def swept(space: Space, chosen: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """What a sweep ran at every location alike: not the rates that the best of them got besides."""
    alike = {(one.location, rate) for one in space.candidates for rate in one.rates}
    full = at_rung(chosen, FULL)
    return tuple(one for one in full if (one.trial.location, one.trial.recipe.lr) in alike)
