"""Fronts and knees against brute force."""

from math import hypot

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from locscope.scoring.front import SPAN, Point, bends, front, knee

SHARES = st.integers(0, 6).map(lambda n: n / 6) | st.floats(0, 1)
POINTS = st.lists(st.builds(Point, SHARES, SHARES), max_size=14)


def beats(a: Point, b: Point) -> bool:
    as_good = a.efficacy >= b.efficacy and a.collapse <= b.collapse
    return as_good and a != b


def slow_front(points: list[Point], some: list[int]) -> set[int]:
    return {i for i in some if not any(beats(points[j], points[i]) for j in some)}


@given(POINTS)
def test_front_equals_brute_force(points):
    useful = [i for i, p in enumerate(points) if p.efficacy > 0] or list(range(len(points)))
    found = front(points)
    assert set(found) == slow_front(points, useful)
    assert [points[i].collapse for i in found] == sorted(points[i].collapse for i in found)


@given(POINTS)
@example([Point(0.01, 0.04), Point(0.0, 0.0)])
def test_bends_put_the_knee_first_and_the_beaten_below(points):
    utility = bends(points)
    for i, point in enumerate(points):
        for j, other in enumerate(points):
            if beats(point, other):
                assert utility[i] >= utility[j]
    if points:
        assert utility[knee(points)] == max(utility[i] for i in front(points))
        if any(point.efficacy > 0 for point in points):
            assert utility[knee(points)] == max(utility)


def slow_distances(points: list[Point]) -> list[float]:
    """Signed distances above the line from the first to the last, on axes scaled to 0..1."""
    x0, x1 = points[0].collapse, points[-1].collapse
    y0, y1 = points[0].efficacy, points[-1].efficacy
    scaled = [((p.collapse - x0) / (x1 - x0), (p.efficacy - y0) / (y1 - y0)) for p in points]
    (ax, ay), (bx, by) = scaled[0], scaled[-1]
    return [
        -((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / hypot(bx - ax, by - ay) for x, y in scaled
    ]


@given(st.integers(2, 8), st.randoms())
def test_knee_is_farthest_above_the_chord(count, random):
    xs, ys = (sorted(random.sample(range(1, 1000), count)) for _ in range(2))
    assume(min(xs[-1] - xs[0], ys[-1] - ys[0]) >= 1000 * SPAN)
    points = [Point(y / 1000, x / 1000) for x, y in zip(xs, ys, strict=True)]
    assert front(points) == tuple(range(count))
    distances = slow_distances(points)
    assert distances[knee(points)] == pytest.approx(max(distances), abs=1e-9)


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([Point(0.3, 0.9)], 0),
        ([Point(0.95, 0.001), Point(0.97, 0.2)], 0),
        ([Point(0.2, 0.001), Point(0.97, 0.02)], 1),
        ([Point(0.5, 0.1), Point(0.5, 0.1)], 0),
        # Below the chord: an end, by what it gives.
        ([Point(0.1, 0.0), Point(0.2, 0.4), Point(0.9, 0.5)], 2),
        ([Point(0.1, 0.0), Point(0.8, 0.1), Point(0.9, 0.9)], 1),
        # A thousandth of collapse is no reason to give up efficacy, nor the other way round.
        ([Point(0.06, 0.0005), Point(0.87, 0.003), Point(0.97, 0.005), Point(0.98, 0.006)], 2),
        ([Point(0.95, 0.0), Point(0.955, 0.2), Point(0.96, 0.4)], 0),
    ],
)
def test_knees_by_eye(points, index):
    assert knee(points) == index


def test_what_learned_nothing_is_on_no_front():
    points = [Point(0.0, 0.0), Point(0.5, 0.1)]
    assert front(points) == (1,)
    assert front(points[:1]) == (0,)
    assert front([]) == ()
