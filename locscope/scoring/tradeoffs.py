"""Trials as points of efficacy against collapse, and the front of them."""

from collections.abc import Sequence
from math import isnan

from locscope.records import FrontPoint, TrialRecord
from locscope.scoring.front import Point, knee
from locscope.scoring.front import front as unbeaten
from locscope.scoring.objectives import Objective, collapse, efficacy


def point_of(record: TrialRecord, objective: Objective) -> Point:
    """Where the trial stands; NaN on an axis that was not measured."""
    return Point(efficacy(record.measures, objective), collapse(record.measures))


def is_known(point: Point) -> bool:
    """Whether both axes were measured."""
    return not (isnan(point.efficacy) or isnan(point.collapse))


def front(records: Sequence[TrialRecord], objective: Objective) -> tuple[TrialRecord, ...]:
    """The records within the bounds that none beats in both efficacy and collapse, collapse rising.

    Of all that were measured, where none is within the bounds.
    """
    measured = [record for record in records if is_known(point_of(record, objective))]
    eligible = [record for record in measured if not record.violated] or measured
    points = [point_of(record, objective) for record in eligible]
    return tuple(eligible[i] for i in unbeaten(points))


def front_points(records: Sequence[TrialRecord], objective: Objective) -> tuple[FrontPoint, ...]:
    """The front of the trials, with the knee marked."""
    on_front = front(records, objective)
    points = [point_of(record, objective) for record in on_front]
    # No index is -1, so that without points nothing is marked.
    bend = knee(points) if points else -1
    return tuple(
        FrontPoint(
            location=record.trial.location,
            lr=record.trial.recipe.lr,
            efficacy=point.efficacy,
            perplexity_ratio=record.measure("perplexity_ratio").value,
            knee=i == bend,
        )
        for i, (record, point) in enumerate(zip(on_front, points, strict=True))
    )
