"""Sweep: every candidate at every rate, in full; then the grids of the best grow where need be."""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Space, TrialRequest, at_rung, over


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """All of it, then rates beyond those whose edge is best; within a budget location by location,
    in a drawn order."""
    done = at_rung(records, FULL)
    if over(space, done):
        return ()
    tried = {record.trial.location for record in done}
    locations = [location for location in space.drawn if location not in tried]
    some = locations if space.budget is None else locations[:1]
    wanted = [
        TrialRequest(location, rate, space.full)
        for location in some
        for rate in space.of(location).rates
    ]
    return tuple(wanted) or settled_rates(space, done)
