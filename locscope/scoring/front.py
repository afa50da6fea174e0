"""Efficacy against collapse: which points no other beats in both, and which of them is the knee."""

from collections.abc import Sequence
from dataclasses import dataclass

from locscope.scoring.objectives import harmonic


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
    return next(iter(layers(points)), ())


def layers(points: Sequence[Point]) -> tuple[tuple[int, ...], ...]:
    """The front, the front of what is left, and so on; points without efficacy come last."""
    useful = [i for i, point in enumerate(points) if point.efficacy > 0]
    useless = [i for i, point in enumerate(points) if point.efficacy <= 0]
    return (*_peeled(points, useful), *_peeled(points, useless))


def knee(points: Sequence[Point]) -> int:
    """Index of the point of a front that lies farthest above the chord between its ends.

    Both axes are scaled to 0..1 over the front. The ends lie on the chord, so with two points, or
    where the front sags, the one with the best harmonic mean of efficacy and what is left is taken.
    """
    heights = [
        efficacy - collapse
        for efficacy, collapse in zip(
            _scaled([point.efficacy for point in points]),
            _scaled([point.collapse for point in points]),
            strict=True,
        )
    ]
    # Rounded, so that equal heights do not differ by how they were computed.
    worth = [
        (round(height, 9), harmonic([point.efficacy, 1 - point.collapse]))
        for height, point in zip(heights, points, strict=True)
    ]
    return max(range(len(points)), key=worth.__getitem__)


def _peeled(points: Sequence[Point], some: Sequence[int]) -> list[tuple[int, ...]]:
    left, found = list(some), []
    while left:
        layer = _unbeaten(points, left)
        found.append(layer)
        gone = set(layer)
        left = [i for i in left if i not in gone]
    return found


def _unbeaten(points: Sequence[Point], some: Sequence[int]) -> tuple[int, ...]:
    kept: list[int] = []
    for i in sorted(some, key=lambda i: (points[i].collapse, -points[i].efficacy)):
        last = points[kept[-1]] if kept else None
        if last is None or points[i].efficacy > last.efficacy or points[i] == last:
            kept.append(i)
    return tuple(kept)


def _scaled(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]
