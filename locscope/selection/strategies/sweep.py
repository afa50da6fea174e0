"""Sweep: every candidate at every rate, in full; then the grids of the best grow where need be."""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Ask, Space, at_rung, over


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """All of it, then rates beyond those whose edge is best; within a budget place by place, in
    a drawn order."""
    done = at_rung(records, FULL)
    if over(space, done):
        return ()
    tried = {record.trial.location for record in done}
    places = [place for place in space.drawn if place not in tried]
    some = places if space.budget is None else places[:1]
    wanted = [Ask(place, rate, space.full) for place in some for rate in space.of(place).rates]
    return tuple(wanted) or settled_rates(space, done)
