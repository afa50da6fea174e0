"""Sweep: every candidate at every rate, in full; then the grids of the best grow where need be."""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Ask, Space, at_rung, over


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """All of it at first; then, within the budget, rates beyond those whose edge is best."""
    done = at_rung(records, FULL)
    if not done:
        return tuple(
            Ask(one.location, rate, space.full) for one in space.candidates for rate in one.rates
        )
    return () if over(space, done) else settled_rates(space, done)
