"""Depth rule: the paper's location, carried over by relative depth, over its rates."""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Space, TrialRequest, at_rung, over


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """Its three rates, and those beyond while the best lies on the edge, within the budget."""
    done = at_rung(records, FULL)
    if not done:
        one = space.of(space.depth_rule)
        return tuple(TrialRequest(one.location, rate, space.full) for rate in one.rates)
    return () if over(space, done) else settled_rates(space, done)
