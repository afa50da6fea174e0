"""Random: candidates in a drawn order, each at its starting rate, then the rates of the best.

Without a budget it tries ten, which is about what a race runs in full.
"""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import drawing, rates_within
from locscope.selection.space import FULL, Space, TrialRequest, at_rung

UNLIMITED = 10
"""Locations tried where no budget is set."""


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """The next location, then the next rate; the trial that goes beyond the budget still counts."""
    done = at_rung(records, FULL)
    limit = UNLIMITED if space.budget is None else len(space.candidates)
    tried = {record.trial.location for record in done}
    fresh = [location for location in space.drawn[:limit] if location not in tried]
    if fresh and drawing(space, done):
        return (TrialRequest(fresh[0], space.of(fresh[0]).lr, space.full),)
    return rates_within(space, done)
