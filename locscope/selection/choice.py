"""Choosing on S: which trials are better, which locations go on, which rates are tried next."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from locscope.records import TrialRecord
from locscope.selection.candidates import rounded

STEP = 3.0
"""Neighbouring rates of a location's grid are this factor apart."""
EXTENSIONS = 2
"""How far beyond 1/3, 1, 3 a grid grows on a side while its best lies on that edge."""


@dataclass(frozen=True)
class Best:
    """A location with its trials at all rates tried, and the best of them."""

    location: str
    record: TrialRecord
    tried: tuple[TrialRecord, ...]


def rank_key(record: TrialRecord) -> tuple[bool, bool, float, int]:
    """Sorts the best trial first: measured, within the bounds, by score, the smaller at a tie."""
    unmeasured = isnan(record.score)
    return (
        unmeasured,
        bool(record.violated),
        0.0 if unmeasured else -record.score,
        record.parameter_count,
    )


def best_per_location(records: Sequence[TrialRecord]) -> tuple[Best, ...]:
    """Every location at its own best rate, the best location first."""
    places: dict[str, list[TrialRecord]] = {}
    for record in records:
        places.setdefault(record.trial.location, []).append(record)
    found = [Best(place, min(some, key=rank_key), tuple(some)) for place, some in places.items()]
    return tuple(sorted(found, key=lambda best: rank_key(best.record)))


def on_edge(tried: Sequence[TrialRecord]) -> bool:
    """Whether the best rate tried at one location is the lowest or the highest of its grid."""
    rates = [record.trial.recipe.lr for record in tried]
    best = min(tried, key=rank_key).trial.recipe.lr
    return len(rates) > 1 and best in (min(rates), max(rates))


def next_rates(tried: Sequence[TrialRecord]) -> tuple[float, ...]:
    """The rates to try next at one location; none once its best is inside its grid.

    The grid is 1/3, 1 and 3 times the first rate tried, extended while the best lies on its edge.
    """
    first = tried[0].trial.recipe.lr
    rates = sorted(record.trial.recipe.lr for record in tried)
    if len(rates) == 1:
        return (rounded(first / STEP), rounded(first * STEP))
    best = min(tried, key=rank_key).trial.recipe.lr
    reach = STEP ** (1 + EXTENSIONS) * 1.01
    if best == rates[0] and first / (best / STEP) < reach:
        return (rounded(best / STEP),)
    if best == rates[-1] and best * STEP / first < reach:
        return (rounded(best * STEP),)
    return ()
