"""What a race is held against: a sweep of everything, and the two controls.

The sweep runs every candidate at every rate, in full. Random candidates come in a drawn order, each
at its starting rate, then the rates of the best; without a budget ten of them, which is about what
a race runs in full. The depth rule's location is the paper's, carried over by relative depth.
"""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.rates import drawing, rates_within, settled_rates
from locscope.selection.space import FULL, Space, TrialRequest, at_rung, over

UNLIMITED = 10
"""Random locations tried where no budget is set."""


def sweep(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
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


def random(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """The next location, then the next rate; the trial that goes beyond the budget still counts."""
    done = at_rung(records, FULL)
    limit = UNLIMITED if space.budget is None else len(space.candidates)
    tried = {record.trial.location for record in done}
    fresh = [location for location in space.drawn[:limit] if location not in tried]
    if fresh and drawing(space, done):
        return (TrialRequest(fresh[0], space.of(fresh[0]).lr, space.full),)
    return rates_within(space, done)


def depth_rule(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """Its three rates, and those beyond while the best lies on the edge, within the budget."""
    done = at_rung(records, FULL)
    if not done:
        candidate = space.of(space.depth_rule)
        return tuple(TrialRequest(candidate.location, rate, space.full) for rate in candidate.rates)
    return () if over(space, done) else settled_rates(space, done)
