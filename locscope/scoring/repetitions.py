"""Intervals over repetitions: for what has one number a trial, and none for every edit."""

from collections.abc import Sequence
from math import cos, isnan, nan, pi, sin, sqrt, tan
from statistics import fmean, variance

from locscope.scoring.statistics import Interval


def repeated(values: Sequence[float], shared: float = 0.0, level: float = 0.95) -> Interval:
    """The mean of repetitions that have a number, with Student's t interval.

    `shared` is the share of edits that two repetitions have in common. What rests on edits varies
    less between such repetitions than between fresh ones: their correlation is that share, so the
    variance of the mean is s² (1/n + shared / (1 - shared)), after Nadeau and Bengio (2003). No
    interval from fewer than two, or from repetitions on the very same edits.
    """
    measured = [float(value) for value in values if not isnan(value)]
    # With shared = 1 all repetitions are one, and the correction divides by zero.
    if len(measured) < 2 or shared >= 1:
        return Interval(fmean(measured) if measured else nan, nan, nan, len(measured))
    mean, count = fmean(measured), len(measured)
    error = sqrt(variance(measured) * (1 / count + shared / (1 - shared)))
    half = t_quantile((1 + level) / 2, count - 1) * error
    return Interval(mean, mean - half, mean + half, count)


def shared_edits(subsets: Sequence[Sequence[str]]) -> float:
    """Mean share of edits that two of the subsets have in common; 0 for fewer than two."""
    sets = [set(subset) for subset in subsets]
    pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
    return fmean(len(a & b) / (min(len(a), len(b)) or 1) for a, b in pairs) if pairs else 0.0


def t_quantile(level: float, freedom: int) -> float:
    """The quantile, for a level above one half, of Student's t distribution.

    Found by halving; the distribution for whole degrees of freedom is a finite sum (Abramowitz and
    Stegun 26.7.3 and 26.7.4) in the angle whose tangent is t / sqrt(freedom).
    """
    low, high = 0.0, pi / 2
    # Each step halves the interval: after a hundred a double cannot be halved any more.
    for _ in range(100):
        middle = (low + high) / 2
        below = (1 + _within(middle, freedom)) / 2 < level
        low, high = (middle, high) if below else (low, middle)
    return tan((low + high) / 2) * sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """The probability that |t| is at most tan(angle) * sqrt(freedom)."""
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1, freedom // 2 + 1):
        total += term
        over, under = (2 * step, 2 * step + 1) if odd else (2 * step - 1, 2 * step)
        term *= over / under * cos(angle) ** 2
    whole = sin(angle) * total
    return 2 / pi * (angle + whole) if odd else whole
