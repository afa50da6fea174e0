"""Efficacy against collapse: which points no other beats in both, and which of them is the knee."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from locscope.scoring.objectives import harmonic

SPAN = 0.05
"""Efficacy or collapse worth a choice: about what the bound of `balanced` allows to lose."""


@dataclass(frozen=True)
class Point:
    """How well the edits took and how much of the rest was lost, both 0..1 and measured."""

    efficacy: float
    collapse: float


def front(points: Sequence[Point]) -> tuple[int, ...]:
    """Indices of the points that none beats: as good in both and better in one. Collapse rises.

    Equal points stand beside each other. A point without any efficacy is on no front, for nothing
    was traded in; where all are so, the ones with the least collapse are.
    """
    useful = [i for i, point in enumerate(points) if point.efficacy > 0]
    on_front: list[int] = []
    order = useful or range(len(points))
    # Least collapse first: a point is on the front if it beats the last one on it in efficacy.
    for i in sorted(order, key=lambda i: (points[i].collapse, -points[i].efficacy)):
        last = points[on_front[-1]] if on_front else None
        if last is None or points[i].efficacy > last.efficacy or points[i] == last:
            on_front.append(i)
    return tuple(on_front)


def bends(points: Sequence[Point]) -> tuple[tuple[float, float], ...]:
    """By what every point is to be ranked so that the knee of their front leads, higher is better.

    First how far above the chord between the ends of the front it lies. For that both axes are
    scaled to 0..1 over the front, or less far where all of it lies within `SPAN`: else a front
    that loses next to nothing would sell efficacy for the last thousandth. A point off the front
    is below the one that beats it, one without efficacy below all. Then, for the ends all lie on
    the chord, the harmonic mean of efficacy and what is left.
    """
    ends = [points[i] for i in front(points)] or [Point(0.0, 0.0)]
    low, high = ends[0], ends[-1]
    # A front shorter than this is noise, which scaling to 0..1 would blow up.
    up = max(high.efficacy - low.efficacy, SPAN)
    across = max(high.collapse - low.collapse, SPAN)

    def height(point: Point) -> float:
        if point.efficacy <= 0:
            return -inf
        rise = (point.efficacy - low.efficacy) / up - (point.collapse - low.collapse) / across
        # Rounded, so that equal heights do not differ by how they were computed.
        return round(rise, 9)

    return tuple(
        (height(point), harmonic([point.efficacy, 1 - point.collapse])) for point in points
    )


def knee(points: Sequence[Point]) -> int:
    """Index of the point that lies farthest above the chord of their front (`bends`)."""
    utility = bends(points)
    return max(front(points), key=utility.__getitem__)
