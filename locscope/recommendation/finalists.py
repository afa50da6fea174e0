"""Choosing among the finalists: by their trials on S and on V together.

One trial has the better of two locations first less often than the mean of several on different
edits, and the best of many on S owes some of its lead to luck. So the best few of S are tuned
afresh on subsets of V, and the choice rests on all of these trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from locscope.records import Measure, TrialRecord
from locscope.scoring.bounds import shortfall, violations
from locscope.scoring.front import Point, bends
from locscope.scoring.objectives import Objective, collapse, efficacy, merit, score
from locscope.scoring.tradeoffs import is_known
from locscope.selection.choice import Best, levelled


@dataclass(frozen=True)
class Finalist:
    """A location with its best trial on S, all rates tried there, and its trials on V."""

    best: Best
    on_v: tuple[TrialRecord, ...]

    @property
    def location(self) -> str:
        """Its name."""
        return self.best.location

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What was measured on S and V together."""
        return gathered((self.best.record, *self.on_v))


@dataclass(frozen=True)
class Choice:
    """The finalists, the chosen first and then the others from the best on, and why it is first."""

    finalists: tuple[Finalist, ...]
    reason: str


def chosen_of(
    finalists: Sequence[Finalist], objective: Objective, non_inferiority: float
) -> Choice:
    """The best on S and V together, or a smaller one that is not inferior to it.

    What keeps the bounds asked for goes before what does not, the nearest to them first, then by
    merit. A location with fewer weights is not inferior where it breaks no bound that the best
    keeps and lacks at most `non_inferiority` of its score.
    """
    rising = _bends(finalists, objective)
    ordered = sorted(finalists, key=lambda one: _standing(one, objective, rising))
    best = ordered[0]
    near = [one for one in ordered[1:] if _not_inferior(one, best, objective, non_inferiority)]
    first = min((best, *near), key=lambda one: one.best.record.parameter_count)
    others = tuple(one for one in ordered if one is not first)
    return Choice((first, *others), _reason(first, best, objective, non_inferiority))


def gathered(records: Sequence[TrialRecord]) -> tuple[Measure, ...]:
    """Every measure over all trials together, and its interval: means weighed by what each judged;
    NaN where none has it. A mean of intervals is as wide as one trial's: on the safe side."""
    names = dict.fromkeys(one.name for record in records for one in record.measures)
    return tuple(_gathered([record.measure(name) for record in records]) for name in names)


def _gathered(found: Sequence[Measure]) -> Measure:
    judged = [one for one in found if one.count]
    if not judged:
        return replace(found[0], value=nan, low=nan, high=nan)
    count = sum(one.count for one in judged)

    def average(field: str) -> float:
        return sum(getattr(one, field) * one.count for one in judged) / count

    return replace(
        judged[0], value=average("value"), low=average("low"), high=average("high"), count=count
    )


def asked_for(objective: Objective) -> tuple:
    """The bounds that were asked for, without what a choice leaves free below them."""
    return objective.asked or objective.bounds


def _bends(finalists: Sequence[Finalist], objective: Objective) -> dict[str, tuple[float, ...]]:
    """By location how far above the chord of their front it lies, where the objective is the knee
    of it; nothing of what breaks bounds or was not measured, and of other objectives."""
    if not objective.knee:
        return {}
    kept = [one for one in finalists if not violations(one.measures, asked_for(objective))]
    points = [Point(efficacy(one.measures, objective), collapse(one.measures)) for one in kept]
    known = [(one, point) for one, point in zip(kept, points, strict=True) if is_known(point)]
    heights = bends([point for _, point in known])
    return {one.location: height for (one, _), height in zip(known, heights, strict=True)}


def _standing(
    one: Finalist, objective: Objective, rising: Mapping[str, tuple[float, ...]]
) -> tuple:
    measures, bounds = one.measures, asked_for(objective)
    value = merit(measures, objective)
    tie = gathered_value(one, objective.tie)
    return (
        isnan(value),
        bool(violations(measures, bounds)),
        shortfall(measures, bounds),
        tuple(-height for height in rising.get(one.location, ())),
        -levelled(0.0 if isnan(value) else value, objective),
        0.0 if isnan(tie) else -tie,
        one.best.record.parameter_count,
        one.location,
    )


def _not_inferior(one: Finalist, best: Finalist, objective: Objective, margin: float) -> bool:
    bounds = asked_for(objective)
    if one.best.record.parameter_count >= best.best.record.parameter_count:
        return False
    if shortfall(one.measures, bounds) > shortfall(best.measures, bounds):
        return False
    if objective.tie:
        decides = [gathered_value(finalist, objective.tie) for finalist in (one, best)]
        if decides[0] < decides[1] - margin:
            return False
    return merit(one.measures, objective) >= merit(best.measures, objective) - margin


def gathered_value(one: Finalist, name: str) -> float:
    """A measure on S and V together; NaN where it was not measured."""
    return next((measure.value for measure in one.measures if measure.name == name), nan)


def _reason(first: Finalist, best: Finalist, objective: Objective, margin: float) -> str:
    trials = 1 + len(first.on_v)
    value = score(first.measures, objective).value
    if first is best:
        return f"best of the finalists on S and V ({value:.3f} over {trials} trials)"
    return (
        f"on S and V within {margin:g} of {best.location} ({value:.3f} and "
        f"{score(best.measures, objective).value:.3f} over {trials} trials), and smaller"
    )
