"""Choosing among the finalists: by their trials on S and on V together.

A single trial puts the better of two locations first less often than the mean of several trials on
different edits does, and the best of many locations on S owes some of its lead to luck. So the best
few of S are tuned afresh on subsets of V, and the choice rests on all of these trials. Where these
leave some too close to tell, these are tuned on as many other subsets of V.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, nan

from locscope.locations import Location
from locscope.recommendation.paired import Groups, paired
from locscope.records import Measure, TrialRecord
from locscope.scoring.bounds import named, shortfall, violations
from locscope.scoring.front import Point, bends
from locscope.scoring.objectives import QUICK, Objective, collapse, efficacy, merit, score
from locscope.scoring.tradeoffs import is_known
from locscope.selection.choice import Best, levelled

RANDOM = "random"
"""The role of random locations, which are shown as one contender."""
CLOSE = 0.02
"""Finalists whose estimates are no farther apart may change places with other subsets: so much and
less was what trials on S and two subsets of V had wrong (`reports/choice.md`)."""


@dataclass(frozen=True)
class Finalist:
    """A location at its best rate on S, with its trials on V.

    Where it was measured on T too, `role` is its role there and `on_t` are those trials in their
    order. Controls (the depth rule's location, random ones) may have no trials on V.
    """

    best: Best
    on_v: tuple[TrialRecord, ...] = ()
    role: str = ""
    on_t: tuple[TrialRecord, ...] = ()

    @property
    def location(self) -> Location:
        """The location that it is."""
        return self.best.location

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What was measured on S and V together."""
        return gathered((self.best.record, *self.on_v))

    def worth(self, objective: Objective) -> float:
        """What finalists are ordered by: the merit of answers and probabilities on S and V."""
        return merit(steadied(self.measures), objective)


def too_close(finalists: Sequence[Finalist], objective: Objective) -> tuple[Finalist, ...]:
    """The best and those about as good, in their order; none where the best is clear of them.

    Of those that keep the bounds asked for as well as the best does.
    """
    best = _by_standing(finalists, objective)[0]
    least, breaks = best.worth(objective) - CLOSE, shortfall(best.measures, asked_for(objective))
    close = tuple(
        finalist
        for finalist in finalists
        if finalist.worth(objective) >= least
        and shortfall(finalist.measures, asked_for(objective)) <= breaks
    )
    return close if len(close) > 1 else ()


def ranked_finalists(
    finalists: Sequence[Finalist],
    objective: Objective,
    non_inferiority: float,
    groups: Groups,
    seed: int = 0,
) -> tuple[Finalist, ...]:
    """The chosen finalist first, then the others from the best on.

    The best on S and V together is chosen, or a smaller one that is shown not to be inferior. What
    keeps the bounds asked for goes before what does not, the nearest to them first, then by merit,
    in which a share of right answers counts half and its probability the other half.
    A location with fewer weights is not inferior where it misses the bounds by no more than the
    best does, and the whole interval of what it lacks, paired on S and V, is within
    `non_inferiority`. `groups` are ids of the edits of S and V that belong together.
    """
    best, *others = ordered = _by_standing(finalists, objective)
    near = [
        other
        for other in others
        if _may_replace(other, best, objective, non_inferiority)
        and _apart(other, best, objective, groups, seed) >= -non_inferiority
    ]
    first = min((best, *near), key=lambda finalist: finalist.best.record.parameter_count)
    return (first, *(finalist for finalist in ordered if finalist is not first))


def reason_for(finalists: Sequence[Finalist], objective: Objective, non_inferiority: float) -> str:
    """Why the first of the finalists is chosen, given as `ranked_finalists` has them."""
    first, best = finalists[0], _by_standing(finalists, objective)[0]
    trials, value = 1 + len(first.on_v), score(first.measures, objective)
    if first is best:
        return (
            "best of the finalists on S and V by answers and their probabilities (score "
            f"{value:.3f} over {trials} trials)"
        )
    return (
        f"smaller than {best.location}, and shown on S and V to lack less than "
        f"{non_inferiority:g} of its score ({value:.3f} and {score(best.measures, objective):.3f} "
        f"over {trials} trials)"
    )


def _by_standing(finalists: Sequence[Finalist], objective: Objective) -> list[Finalist]:
    rising = _bends(finalists, objective)
    return sorted(finalists, key=lambda finalist: _standing(finalist, objective, rising))


def gathered(records: Sequence[TrialRecord]) -> tuple[Measure, ...]:
    """Every measure over all trials together, and its interval: means weighed by what each judged;
    NaN where none has it."""
    names = dict.fromkeys(measure.name for record in records for measure in record.measures)
    return tuple(_gathered([record.measure(name) for record in records]) for name in names)


def _gathered(measures: Sequence[Measure]) -> Measure:
    judged = [measure for measure in measures if measure.count]
    if not judged:
        return replace(measures[0], value=nan, low=nan, high=nan)
    count = sum(measure.count for measure in judged)

    def average(field: str) -> float:
        return sum(getattr(measure, field) * measure.count for measure in judged) / count

    # A mean of intervals is as wide as that of one trial: too wide rather than too narrow.
    return replace(
        judged[0], value=average("value"), low=average("low"), high=average("high"), count=count
    )


def steadied(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """The measures with every share of right answers as the mean of itself and its probability.

    An answer is right or not, so a share of few of them moves by chance; the probability that
    stands in for it moves less, but where it is high an answer need not be right. Their mean
    orders locations as fresh edits do more often than either (`reports/choice.md`).
    """
    return tuple(_steadied(measure, measures) for measure in measures)


def _steadied(measure: Measure, measures: Sequence[Measure]) -> Measure:
    beside = named(measures, QUICK.get(measure.name, ""))
    if beside is None or isnan(beside.value) or isnan(measure.value):
        return measure
    return replace(measure, value=(measure.value + beside.value) / 2)


def asked_for(objective: Objective) -> tuple:
    """The bounds that were asked for, without what a choice leaves free below them."""
    return objective.asked or objective.bounds


def _bends(
    finalists: Sequence[Finalist], objective: Objective
) -> dict[Location, tuple[float, ...]]:
    """By location how far above the chord of their front it lies, where the objective is the knee
    of it; nothing of what breaks bounds or was not measured, and of other objectives."""
    if not objective.knee:
        return {}
    points = {
        finalist.location: Point(
            efficacy(finalist.measures, objective), collapse(finalist.measures)
        )
        for finalist in finalists
        if not violations(finalist.measures, asked_for(objective))
    }
    measured = {location: point for location, point in points.items() if is_known(point)}
    return dict(zip(measured, bends(list(measured.values())), strict=True))


def _standing(
    finalist: Finalist, objective: Objective, rising: Mapping[Location, tuple[float, ...]]
) -> tuple:
    """Sorts the best first."""
    measures, bounds = finalist.measures, asked_for(objective)
    value = finalist.worth(objective)
    tie = gathered_value(finalist, objective.tie)
    return (
        isnan(value),
        bool(violations(measures, bounds)),
        shortfall(measures, bounds),
        tuple(-height for height in rising.get(finalist.location, ())),
        -levelled(0.0 if isnan(value) else value, objective),
        0.0 if isnan(tie) else -tie,
        finalist.best.record.parameter_count,
        # Last, so that the order of arrival decides nothing.
        finalist.location,
    )


def _may_replace(smaller: Finalist, best: Finalist, objective: Objective, margin: float) -> bool:
    bounds = asked_for(objective)
    if smaller.best.record.parameter_count >= best.best.record.parameter_count:
        return False
    if shortfall(smaller.measures, bounds) > shortfall(best.measures, bounds):
        return False
    if objective.tie:
        # What breaks ties may not be given up either: scores are levelled to few digits there.
        decides = [gathered_value(finalist, objective.tie) for finalist in (smaller, best)]
        if decides[0] < decides[1] - margin:
            return False
    return smaller.worth(objective) >= best.worth(objective) - margin


def _apart(
    smaller: Finalist, best: Finalist, objective: Objective, groups: Groups, seed: int
) -> float:
    """The low end of the interval of how much more the smaller scores on S and V; minus infinity
    where there is none, as nothing is shown then."""
    # A mean that lies within the margin shows little: chance moves it by as much as the margin.
    first, other = ((finalist.best.record, *finalist.on_v) for finalist in (smaller, best))
    # The first subsets are those of all finalists; some have more.
    both = min(len(first), len(other))
    low = paired(first[:both], other[:both], objective, groups, seed).low
    return -inf if isnan(low) else low


def gathered_value(finalist: Finalist, name: str) -> float:
    """A measure on S and V together; NaN where it was not measured."""
    return next((measure.value for measure in finalist.measures if measure.name == name), nan)
