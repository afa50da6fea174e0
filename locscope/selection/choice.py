"""Choosing on S: which trials are better, and every location at its own best rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

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
Key = tuple[bool, bool, float, float, float, float, int, float, str, float]


@dataclass(frozen=True)
class Best:
    """A location with its trials at all rates tried, and the best of them."""

    location: str
    record: TrialRecord
    tried: tuple[TrialRecord, ...]


def ranked(records: Sequence[TrialRecord], aim: Objective) -> tuple[TrialRecord, ...]:
    """The records, best first, whatever their order was.

    Measured goes before not measured, within the bounds before beyond them, and beyond them the
    nearest first (to the bounds that were asked for, then to those that leave room); then by score,
    by what breaks the objective's ties, the smaller location. Where the objective asks for the
    knee, those within the bounds go by how far above the chord of their front they lie, so that the
    knee leads (ends of a front do not go first for being on it: one of them learned the least).
    Scores of different rungs do not compare: give records of one.
    """
    ordered = sorted(records, key=lambda record: standing(record, aim))
    if not aim.knee:
        return tuple(ordered)
    traded = [record for record in ordered if _is_traded(record, aim)]
    return (*_by_bend(traded, aim), *(r for r in ordered if not _is_traded(r, aim)))


def best_per_location(records: Sequence[TrialRecord], aim: Objective) -> tuple[Best, ...]:
    """Every location at its own best rate, the best location first."""
    places: dict[str, list[TrialRecord]] = {}
    for record in records:
        places.setdefault(record.trial.location, []).append(record)
    first: dict[str, TrialRecord] = {}
    for record in ranked(records, aim):
        first.setdefault(record.trial.location, record)
    return tuple(Best(place, best, tuple(places[place])) for place, best in first.items())


def standing(record: TrialRecord, aim: Objective) -> Key:
    """Sorts the best first. The last three only keep the order from hanging on that of arrival."""
    trial, score = record.trial, worth(record, aim)
    score = 0.0 if isnan(score) else score
    decides = record.measure(aim.tie).value if aim.tie and not trial.glance else 0.0
    level = score if trial.glance else levelled(score, aim)
    return (
        isnan(record.score),
        bool(record.violated),
        shortfall(record.measures, aim.asked),
        shortfall(record.measures, aim.bounds) if record.violated else 0.0,
        -level,
        0.0 if isnan(decides) else -decides,
        record.parameter_count,
        -round(score, EXACT),
        trial.location,
        trial.recipe.lr,
    )


def worth(record: TrialRecord, aim: Objective) -> float:
    """What a trial is ranked by: its merit, which is never a flat 0; of a glance the score."""
    found = nan if record.trial.glance else merit(record.measures, aim)
    return record.score if isnan(found) else found


def levelled(score: float, aim: Objective) -> float:
    """The score as far as it tells: an objective that names what breaks ties has coarse ones."""
    return round(score, DIGITS if aim.tie else EXACT)


def _is_traded(record: TrialRecord, aim: Objective) -> bool:
    known = not isnan(record.score) and is_known(point_of(record, aim))
    return known and not record.violated


def _by_bend(ordered: Sequence[TrialRecord], aim: Objective) -> list[TrialRecord]:
    """By height above the chord; what is level stays in its order."""
    worth = bends([point_of(record, aim) for record in ordered])
    order = sorted(range(len(ordered)), key=worth.__getitem__, reverse=True)
    return [ordered[i] for i in order]
