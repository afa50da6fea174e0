"""Intervals and correlations. NaN is not measured: it is left out, never counted as zero.

Bootstrap intervals are percentile intervals over groups of edits: edits that share a subject rise
and fall together, so whole groups are drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from locscope.scoring.ranks import agreement, mean_ranks

Values = NDArray[np.float64]
_CHUNK = 4_000_000
"""Drawn groups held at a time (32 MB)."""


@dataclass(frozen=True)
class Interval:
    """A value with its interval and how many values it rests on; NaN where there are too few."""

    value: float
    low: float
    high: float
    count: int


def mean_interval(
    values: ArrayLike,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The mean of the values that are not NaN, with a bootstrap interval over groups of them.

    `groups` hold indices into `values` (each on its own where None). Fewer than two groups with
    values give a mean without an interval.
    """
    column = np.asarray(values, dtype=float).reshape(-1, 1)
    sums, counts = _by_group(column, _labels(len(column), groups))
    value = _means(sums.sum(0), counts.sum(0))[0]
    drawn = [_means(*pair)[:, 0] for pair in _draws(sums, counts, seed, draws)]
    low, high = _bounds(drawn, level)
    return Interval(float(value), low, high, int(counts.sum()))


def mean_intervals(
    values: ArrayLike,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[Interval, ...]:
    """`mean_interval` of every column of `values` (rows, columns), all from the same draws."""
    columns = np.asarray(values, dtype=float)
    sums, counts = _by_group(columns, _labels(len(columns), groups))
    value, size = _means(sums.sum(0), counts.sum(0)), len(sums)
    low = high = np.full(columns.shape[1], nan)
    if size >= 2:
        # How often each group comes, so that one product of matrices serves all columns.
        times = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), draws)
        drawn = _means(times @ sums, times @ counts)
        low, high = _column_bounds(drawn, level)
    return tuple(
        Interval(float(v), float(lo), float(hi), int(n))
        for v, lo, hi, n in zip(value, low, high, counts.sum(0), strict=True)
    )


def ratio_interval(
    sums: ArrayLike, sizes: ArrayLike, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Total of `sums` over total of `sizes`, with a bootstrap interval over the pairs.

    A sum that is not finite makes the value so, and leaves no interval.
    """
    # Sums and sizes are drawn together: long texts weigh more in both.
    pairs = np.stack([np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)], axis=1)
    value = float(pairs[:, 0].sum() / pairs[:, 1].sum())
    drawn = [totals[:, 0] / totals[:, 1] for totals, _ in _draws(pairs, pairs, seed, draws)]
    low, high = _bounds(drawn, level)
    return Interval(value, low, high, len(pairs))


def paired_margin(
    a: ArrayLike,
    b: ArrayLike,
    groups: Sequence[Sequence[int]] | None = None,
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """How much a is above b on the same edits, with a bootstrap interval over groups of them.

    Values per edit, shape (edits,), or (edits, terms): then the harmonic means of the terms' means
    are compared, weighted where `weights` (terms) are given. Only cells that both have count; a
    term without any is left out. The count is that of edits with at least one such cell. A
    ValueError where a and b have other shapes.
    """
    left, right = _columns(a), _columns(b)
    if left.shape != right.shape:
        raise ValueError(f"values of the same edits are needed, not {left.shape} and {right.shape}")
    missing = np.isnan(left) | np.isnan(right)
    measured = ~missing.all(0)
    # What one side lacks counts for neither: means over other edits would be compared.
    left, right = (np.where(missing, nan, x)[:, measured] for x in (left, right))
    by = np.ones(left.shape[1]) if weights is None else np.asarray(weights, dtype=float)[measured]
    # Side by side, so that one draw of groups serves both: that is what pairs them.
    sums, counts = _by_group(np.hstack([left, right]), _labels(len(left), groups))
    value = _difference(sums.sum(0, keepdims=True), counts.sum(0, keepdims=True), by)
    drawn = [_difference(*pair, by) for pair in _draws(sums, counts, seed, draws)]
    low, high = _bounds(drawn, level)
    return Interval(float(value[0]), low, high, int((~missing).any(1).sum()))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of the pairs without NaN; ties share their mean rank.

    NaN with fewer than three pairs or where one side is constant.
    """
    left, right = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = ~(np.isnan(left) | np.isnan(right))
    if both.sum() < 3:
        return nan
    centred = (mean_ranks(values[both]) - (both.sum() + 1) / 2 for values in (left, right))
    return float(agreement(*centred))


def chance_corrected(accuracy: float, chance: float) -> float:
    """Accuracy on a scale where guessing is 0 and perfect is 1; NaN where guessing is perfect."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else nan


def _columns(values: ArrayLike) -> Values:
    array = np.asarray(values, dtype=float)
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _labels(count: int, groups: Sequence[Sequence[int]] | None) -> NDArray[np.int64]:
    """The group of every index; an index in no group is one of its own."""
    labels = np.arange(count)
    # Numbers from the count on, so that no group is taken for an index of its own.
    for number, members in enumerate(groups or (), start=count):
        labels[list(members)] = number
    return labels


def _by_group(values: Values, labels: NDArray[np.int64]) -> tuple[Values, Values]:
    """Sums and counts of the measured values, shape (groups, columns); empty groups left out."""
    _, group = np.unique(labels, return_inverse=True)
    measured = ~np.isnan(values)
    shape = (int(group.max()) + 1 if len(group) else 0, values.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, group, np.where(measured, values, 0.0))
    np.add.at(counts, group, measured.astype(float))
    filled = counts.any(1)
    return sums[filled], counts[filled]


def _draws(sums: Values, counts: Values, seed: int, draws: int) -> Iterator[tuple[Values, Values]]:
    """Sums and counts of resampled groups, shape (draws, columns), in chunks that fit memory."""
    size = len(sums)
    # One group has no spread, and one infinite sum makes every draw infinite.
    if size < 2 or not np.isfinite(sums).all():
        return
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // size)
    for start in range(0, draws, step):
        # Drawing indices is several times as fast as drawing how often each group comes.
        drawn = rng.integers(size, size=(min(step, draws - start), size))
        yield _drawn_sums(sums, drawn), _drawn_sums(counts, drawn)


def _drawn_sums(values: Values, drawn: NDArray[np.int64]) -> Values:
    return np.stack([column[drawn].sum(1) for column in values.T], axis=1)


def _means(sums: Values, counts: Values) -> Values:
    return np.divide(sums, counts, out=np.full_like(sums, nan), where=counts > 0)


def _difference(sums: Values, counts: Values, weights: Values) -> Values:
    """Harmonic mean of the left half of the columns' means, less that of the right half."""
    means = _means(sums, counts)
    terms = means.shape[1] // 2
    if not terms:
        return np.full(len(means), nan)
    left, right = means[:, :terms], means[:, terms:]
    return _harmonic_rows(left, weights) - _harmonic_rows(right, weights)


def _harmonic_rows(means: Values, weights: Values) -> Values:
    """Weighted harmonic mean of every row: NaN with a NaN, 0 with a 0, one column as it is."""
    if means.shape[1] == 1:
        return means[:, 0]
    with np.errstate(divide="ignore"):
        # A term below zero, as accuracy below chance, has no harmonic mean: it counts as none.
        return weights.sum() / (weights / np.maximum(means, 0.0)).sum(1)


def _bounds(drawn: Sequence[Values], level: float) -> tuple[float, float]:
    values = np.concatenate(drawn) if drawn else np.empty(0)
    values = values[~np.isnan(values)]
    if not len(values):
        return nan, nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _column_bounds(drawn: Values, level: float) -> tuple[Values, Values]:
    """Bounds of every column; NaN for columns without any value."""
    measured = ~np.isnan(drawn).all(0)
    low, high = np.full((2, drawn.shape[1]), nan)
    if measured.any():
        ends = [(1 - level) / 2, (1 + level) / 2]
        low[measured], high[measured] = np.nanquantile(drawn[:, measured], ends, axis=0)
    return low, high


def overlaps_zero(interval: Interval) -> bool:
    """Whether a margin cannot be told from none: its interval holds zero. Without one: no."""
    return interval.low <= 0 <= interval.high
