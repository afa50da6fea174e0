"""The audit: what tuning showed at places that were drawn before any scan was read.

Every candidate at a glance, and some drawn by the seed in full at their starting rates. What a
strategy has run of it is not run again, the rest is counted apart from choosing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from locscope.records import ScanResult, Scorecard, TrialRecord
from locscope.selection.audit import Audit
from locscope.selection.scorecard import scorecard
from locscope.selection.space import FULL, Ask, Space
from locscope.selection.strategies.race import first_look
from locscope.verbs.desk import Desk


def audit(
    desk: Desk, space: Space, chosen: Sequence[TrialRecord], scans: Sequence[ScanResult]
) -> Scorecard | None:
    """The scorecard of the scans; None where no audit is wanted."""
    size = desk.plan.settings.audit
    if not size:
        return None
    wanted = audit_asks(space, chosen, size)
    looks = [desk.trial(ask) for ask in wanted.looks]
    records = desk.trials("audit", [*looks, *(desk.trial(ask) for ask in wanted.full)])
    found = Audit(
        looks=records[: len(looks)],
        full=_at_all_rates(records[len(looks) :], chosen),
        groups=desk.plan.groups_of(desk.plan.parts.chosen),
        rule=space.depth_rule,
    )
    return scorecard(scans, found, space.seed)


@dataclass(frozen=True)
class AuditAsks:
    """The trials that an audit rests on."""

    looks: tuple[Ask, ...]
    full: tuple[Ask, ...]


def audit_asks(space: Space, chosen: Sequence[TrialRecord], size: int) -> AuditAsks:
    """A look at every candidate and so many in full; where all were run in full, these alone."""
    tried = {record.trial.location for record in chosen if record.trial.rung == FULL}
    places = [one.location for one in space.candidates]
    swept = set(places) <= tried
    sample = places if swept else space.drawn[:size]
    full = tuple(Ask(place, space.of(place).lr, space.full) for place in sample)
    return AuditAsks(() if swept else first_look(space), full)


def _at_all_rates(
    sample: Sequence[TrialRecord], chosen: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    """The sample with what the strategy ran in full of the same places, at other rates."""
    places = {record.trial.location for record in sample}
    others = [r for r in chosen if r.trial.rung == FULL and r.trial.location in places]
    return tuple({record.trial.id: record for record in (*sample, *others)}.values())
