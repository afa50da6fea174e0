"""Grids of learning rates: which locations get theirs, and what is asked for."""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.choice import Best
from locscope.selection.grids import leading, next_rates
from locscope.selection.space import Space, TrialRequest, left, over

RESERVE = 1 / 4
"""Share of a budget that a search of full trials alone keeps for the rates of the best it drew."""
NEAR = 0.01
"""Rates that lie no further apart are the same one, rounded twice."""


def settled_rates(space: Space, full: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """Rates wanted next at the most promising locations; none once each of them has its best inside
    its grid, and no bound cuts a gain off.

    What promises most changes as rates are added, so this is asked again after each answer.
    """
    leaders = leading(full, space.objective)[: space.finalists]
    return tuple(ask for best in leaders for ask in wanted_rates(space, best))


def drawing(space: Space, done: Sequence[TrialRecord]) -> bool:
    """Whether new locations are still drawn: the rest of a budget is for the rates of the best."""
    return left(space, done) > RESERVE


def rates_within(space: Space, done: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """The settled rates, as far as the budget goes: with one, a trial at a time."""
    if over(space, done):
        return ()
    wanted = settled_rates(space, done)
    # One by one within a budget: each is asked for only while something is left of it.
    return wanted if space.budget is None else wanted[:1]


def wanted_rates(space: Space, best: Best) -> tuple[TrialRequest, ...]:
    """Rates wanted next at one location, in full."""
    known = space.of(best.location).rates
    return tuple(
        TrialRequest(best.location, as_known(rate, known), space.full)
        for rate in next_rates(best.tried, space.objective)
    )


def as_known(rate: float, known: Sequence[float]) -> float:
    """The rate of the grid that this is but for rounding: a third of one, times three, is it."""
    near = min(known, key=lambda other: abs(other - rate))
    return near if abs(near - rate) < NEAR * near else rate
