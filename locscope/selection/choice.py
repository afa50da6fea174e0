"""Choosing on S: which trials are better, and every location at its own best rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from locscope.locations import Location
from locscope.records import TrialRecord
from locscope.scoring.bounds import shortfall
from locscope.scoring.front import bends
from locscope.scoring.objectives import Objective, merit
from locscope.scoring.tradeoffs import is_known, point_of

DIGITS = 2
"""Scores that agree in so many digits are equal to an objective that names what breaks ties.

A perplexity ratio never repeats itself exactly, and 0.1 % of it is no reason to choose."""

EXACT = 12
"""Digits of a score beyond which sums that differ in their order differ."""
Key = tuple[bool, bool, float, float, float, float, int, float, Location, float]


@dataclass(frozen=True)
class Best:
    """A location with its trials at all rates tried, and the best of them."""

    location: Location
    record: TrialRecord
    tried: tuple[TrialRecord, ...]


def ranked(records: Sequence[TrialRecord], objective: Objective) -> tuple[TrialRecord, ...]:
    """The records, best first, whatever their order was.

    Measured goes before not measured, within the bounds before beyond them, and beyond them the
    nearest first (to the bounds that were asked for, then to those with a margin); then by score,
    by what breaks the objective's ties, the smaller location. Where the objective asks for the
    knee, those within the bounds go by how far above the chord of their front they lie, so that the
    knee leads (ends of a front do not go first for being on it: one of them learned the least).
    Scores of different rungs do not compare: give records of one.
    """
    ordered = sorted(records, key=lambda record: standing(record, objective))
    if not objective.knee:
        return tuple(ordered)
    traded = [record for record in ordered if _is_traded(record, objective)]
    return (*_by_bend(traded, objective), *(r for r in ordered if not _is_traded(r, objective)))


def best_per_location(records: Sequence[TrialRecord], objective: Objective) -> tuple[Best, ...]:
    """Every location at its own best rate, the best location first."""
    locations: dict[Location, list[TrialRecord]] = {}
    for record in records:
        locations.setdefault(record.trial.location, []).append(record)
    first: dict[Location, TrialRecord] = {}
    # All together: the first of each location is its best, and locations come in their order.
    for record in ranked(records, objective):
        first.setdefault(record.trial.location, record)
    return tuple(
        Best(location, best, tuple(locations[location])) for location, best in first.items()
    )


def standing(record: TrialRecord, objective: Objective) -> Key:
    """Sorts the best first. The last three only keep the order from hanging on that of arrival."""
    trial, score = record.trial, utility(record, objective)
    score = 0.0 if isnan(score) else score
    decides = record.measure(objective.tie).value if objective.tie and not trial.quick else 0.0
    # Probabilities are continuous: coarse ones would make ties of what they tell apart.
    level = score if trial.quick else levelled(score, objective)
    return (
        isnan(record.score),
        bool(record.violated),
        shortfall(record.measures, objective.asked),
        shortfall(record.measures, objective.bounds) if record.violated else 0.0,
        -level,
        0.0 if isnan(decides) else -decides,
        record.parameter_count,
        -round(score, EXACT),
        trial.location,
        trial.recipe.lr,
    )


def utility(record: TrialRecord, objective: Objective) -> float:
    """What a trial is ranked by: its merit, which is never a flat 0; of a quick evaluation the
    score."""
    found = nan if record.trial.quick else merit(record.measures, objective)
    return record.score if isnan(found) else found


def levelled(score: float, objective: Objective) -> float:
    """The score as far as it tells: an objective that names what breaks ties has coarse ones."""
    return round(score, DIGITS if objective.tie else EXACT)


def _is_traded(record: TrialRecord, objective: Objective) -> bool:
    known = not isnan(record.score) and is_known(point_of(record, objective))
    return known and not record.violated


def _by_bend(ordered: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """By height above the chord; what is level stays in its order."""
    utility = bends([point_of(record, objective) for record in ordered])
    # `reverse` keeps what is level in its order, which turning the list around would not.
    order = sorted(range(len(ordered)), key=utility.__getitem__, reverse=True)
    return [ordered[i] for i in order]
