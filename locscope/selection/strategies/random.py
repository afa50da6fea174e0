"""Random: candidates in a drawn order, each at its starting rate, then the rates of the best.

Without a budget it tries as many as are a race's finalists.
"""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Ask, Space, at_rung, over

UNLIMITED = 10
"""Locations tried where no budget is set."""


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """The next location, until the budget is spent; the trial that goes beyond it still counts."""
    done = at_rung(records, FULL)
    if over(space, done):
        return ()
    limit = UNLIMITED if space.budget is None else len(space.candidates)
    tried = {record.trial.location for record in done}
    left = [place for place in space.drawn[:limit] if place not in tried]
    if left:
        return (Ask(left[0], space.of(left[0]).lr, space.full),)
    return settled_rates(space, done)
