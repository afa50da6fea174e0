"""Rank statistics within strata, for many resamples at once; numbers only.

Rows are resamples, columns are locations. Locations are compared within their own stratum alone
(the same part): ranks are taken there and centred, so that no part's level or scale counts.
"""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Strata = tuple[Indices, ...]
POWERS = 4
"""Powers of depth that a trend has; fewer where layers are few. A hill anywhere over depth is then
trend: with the square alone, ranks of a hill that only knows depth passed for more than that."""
RUNS = 6
"""Runs of neighbouring blocks that shuffles move, about; fewer would leave few orders."""
_NOTHING = 1e-9
"""A sum of squares below this share of the whole is rounding."""


def strata_of(labels: Sequence[str], depths: ArrayLike, blocks: ArrayLike) -> Strata:
    """The columns of each stratum, which are compared within it, from the lowest layer up."""
    names = np.asarray(labels)
    sort = np.lexsort((np.asarray(depths, dtype=float), np.asarray(blocks, dtype=np.int64)))
    # By name and by layer, so that the order in which columns come decides nothing.
    return tuple(sort[names[sort] == name] for name in sorted(set(labels)))


def trend_of(strata: Strata, depths: ArrayLike) -> Values:
    """What columns are compared beyond, shape (columns, terms): it spans the powers of depth,
    centred within strata."""
    depth = np.asarray(depths, dtype=float)
    scaled = (depth - depth.mean()) / (float(np.ptp(depth)) or 1.0)
    layers = max((len(np.unique(depth[columns])) for columns in strata), default=0)
    powers = min(POWERS, max(2, layers // 2 - 1))
    terms = np.stack([scaled**power for power in range(1, powers + 1)], axis=1)
    for columns in strata:
        # Centred within strata, as ranks are: else a trend would tell strata apart.
        terms[columns] -= terms[columns].mean(0)
    # Powers of depth are collinear where layers are few: what is left then is rounding.
    left, sizes, _ = np.linalg.svd(terms, full_matrices=False)
    return left[:, sizes > _NOTHING]


def mean_ranks(values: ArrayLike) -> Values:
    """Ranks from 1 along the last axis; ties share their mean rank."""
    array = np.asarray(values, dtype=float)
    # One sort serves all rows, of which there are thousands.
    order = np.argsort(array, axis=-1)
    ordered, size = np.take_along_axis(array, order, -1), array.shape[-1]
    rises = ordered[..., 1:] != ordered[..., :-1]
    positions, ranks = np.arange(size), np.empty(array.shape)
    if rises.all():  # no ties, as of almost all scores
        np.put_along_axis(ranks, order, positions + 1.0, -1)
        return ranks
    edge = np.ones((*array.shape[:-1], 1), dtype=bool)
    first = np.where(np.concatenate([edge, rises], -1), positions, 0)
    last = np.where(np.concatenate([rises, edge], -1), positions, size)
    first = np.maximum.accumulate(first, axis=-1)
    last = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, -1)
    return ranks


def ranks_within(values: Values, strata: Strata) -> Values:
    """Centred ranks of every row within strata, as shares of the stratum's size."""
    ranks = np.zeros(values.shape)
    for columns in strata:
        middle, size = (len(columns) + 1) / 2, len(columns)
        ranks[..., columns] = (mean_ranks(values[..., columns]) - middle) / size
    return ranks


def agreement(x: Values, y: Values) -> Values:
    """The correlation of centred rows: of ranks within strata, Spearman's within part.

    Strata count by their number of locations. NaN where one side does not vary.
    """
    return _over((x * y).sum(-1), np.sqrt((x * x).sum(-1) * (y * y).sum(-1)))


def beyond(values: Values, trend: Values) -> Values:
    """What the trend of depth leaves of centred rows."""
    return values - (values @ trend) @ trend.T


def added_share(x: Values, y: Values, trend: Values) -> Values:
    """R2 that x adds to a least squares fit of y on strata and the powers of depth.

    Of ranks within strata: the share of the order there. With the sign of x's slope: below zero
    x points away from y. NaN where x is all trend.
    """
    rest = beyond(x, trend)
    squares = (rest * rest).sum(-1)
    squares = np.where(squares > _NOTHING * (x * x).sum(-1), squares, 0.0)
    along = (rest * y).sum(-1)
    return _over(along * np.abs(along), squares * (y * y).sum(-1))


def shuffled_ranks(y: Values, order: Indices) -> Values:
    """One row of ranks in every shuffled order, (shuffles, columns); rows of length 1."""
    return _unit(y[order])


def shuffled_residuals(y: Values, trend: Values, order: Indices) -> Values:
    """What the trend leaves of one row, shuffled (Freedman and Lane 1983), (shuffles, columns).

    Rows have length 1, or are 0 where nothing is left.
    """
    return _unit(beyond(beyond(y, trend)[order], trend))


def chance(x: Values, shuffled: Values) -> Values:
    """Agreement of one row with every row of shuffled ranks, shape (shuffles,)."""
    return shuffled @ _unit(x)


def p_within(x: Values, y: Values, shuffled: Values, smooth: Sequence[Values]) -> float:
    """Two-sided: how often chance agrees, or disagrees, as much as x and y do.

    The larger of what shuffled ranks of y say and what random scores as smooth as x do, each of
    shape (draws, columns); 1 where nothing varies.
    """
    measured = abs(float(agreement(x, y)))
    by_chance = (chance(x, shuffled), *(agreement(scores, y) for scores in smooth))
    return max(_p(measured, np.abs(draws)) for draws in by_chance)


def p_added(x: Values, y: Values, trend: Values, residuals: Values) -> float:
    """One-sided: how often chance gives x such a slope beyond the trend; 1 where x is all trend.

    `residuals` are the shuffled ones of y.
    """
    if isnan(float(added_share(x, y, trend))):
        return 1.0
    rest = beyond(x, trend)
    return _p(float(agreement(rest, beyond(y, trend))), residuals @ _unit(rest))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """P-values corrected for their number by Holm's method (1979); NaN stays and does not count."""
    tested = sorted((value, i) for i, value in enumerate(p) if not isnan(value))
    corrected, largest = [nan] * len(p), 0.0
    for done, (value, i) in enumerate(tested):
        largest = max(largest, min(1.0, value * (len(tested) - done)))
        corrected[i] = largest
    return tuple(corrected)


def holm_in_turn(
    first: Sequence[float], second: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """P-values of pairs of claims, the second made only after the first, corrected over all.

    Holm's method over the pairs: one gives up its share of the level when both of its claims are
    made (Bretz, Maurer, Brannath and Posch 2009), so that the chance of any false claim, of
    whichever kind, stays below the level. A first p-value of NaN stays and does not count.
    """
    left = {i: [p, q] for i, (p, q) in enumerate(zip(first, second, strict=True)) if not isnan(p)}
    corrected: dict[int, list[float]] = {i: [] for i in range(len(first))}
    largest = 0.0
    while left:
        i = min(left, key=lambda index: left[index][0])
        largest = max(largest, min(1.0, left[i].pop(0) * len(left)))
        corrected[i].append(largest)
        if not left[i]:
            del left[i]
    pairs = [corrected[i] or [nan, nan] for i in range(len(first))]
    return tuple(p for p, _ in pairs), tuple(q for _, q in pairs)


def shuffles_of(
    strata: Strata, blocks: Indices, shuffles: int, rng: np.random.Generator
) -> Indices:
    """Columns in a shuffled order each, shape (shuffles, columns); strata are kept.

    Columns of one block, as all parts of a layer, move together: what the parts of a layer have in
    common must not count as evidence once for every part. Runs of neighbouring blocks move
    together too, as they stand or turned around, because neighbours are alike.
    """
    _, block = np.unique(blocks, return_inverse=True)
    count = int(block.max()) + 1
    length = max(1, count // RUNS)
    run = (np.arange(count) + rng.integers(length, size=(shuffles, 1))) // length
    turned = np.take_along_axis(rng.choice([-1, 1], size=run.shape), run, 1)
    put = np.take_along_axis(rng.random(run.shape), run, 1)
    among = np.empty((shuffles, len(block)))
    among[:, np.concatenate(strata)] = rng.random(among.shape)
    # By where its run is put, then by position in the run; columns of one block in any order.
    keys = (among, (turned * np.arange(count))[:, block], put[:, block])
    index = np.empty(among.shape, dtype=np.int64)
    for columns in strata:
        order = np.lexsort([key[:, columns] for key in keys], axis=1)
        index[:, columns] = columns[order]
    return index


def _p(value: float, by_chance: Values) -> float:
    if isnan(value):
        return 1.0
    # The order that was measured is one of the possible shuffles (Phipson and Smyth 2010).
    return (1 + int((by_chance >= value - _NOTHING).sum())) / (1 + len(by_chance))


def _unit(rows: Values) -> Values:
    length = np.sqrt((rows * rows).sum(-1, keepdims=True))
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > _NOTHING)


def _over(values: Values, by: Values) -> Values:
    values, by = np.asarray(values), np.asarray(by)
    return np.divide(values, by, out=np.full(values.shape, nan), where=by > _NOTHING**2)
