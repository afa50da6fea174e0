"""A margin over several random locations, whose interval also holds the luck of drawing them."""

from collections.abc import Sequence
from math import nan

import numpy as np
from numpy.typing import NDArray

from locscope.scoring.statistics import Interval

Values = NDArray[np.float64]
DRAWS = 2000


def margin_over_mean(
    one: Values,
    others: Sequence[Values],
    groups: Sequence[Sequence[int]],
    weights: Sequence[float],
    *,
    seed: int = 0,
) -> Interval:
    """How much more one location scores than the mean of the others, over outcomes of edits.

    `one` and each of the others have shape (edits, terms) with NaN for what was not measured; a
    score is the weighted harmonic mean of the terms' means. Each draw of the bootstrap takes groups
    of edits, the same for all locations, and locations among the others: a single random location
    may be a lucky one, however narrow the interval over edits is.
    """
    if not others or not len(one):
        return Interval(nan, nan, nan, 0)
    rng, labels = np.random.default_rng(seed), _labels(len(one), groups)
    size = int(labels.max()) + 1
    # How often each group comes in a draw: one matrix serves all locations, which pairs them.
    times = rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
    by = np.asarray(weights, dtype=float)
    mine, theirs = (
        _scores(one, labels, times, by),
        np.stack([_scores(other, labels, times, by) for other in others]),
    )
    # As many others in each draw as there are: the mean over them is what varies.
    drawn = rng.integers(len(others), size=(len(others), DRAWS))
    chance = np.take_along_axis(theirs[:, 1:], drawn, axis=0).mean(0)
    differences = (mine[1:] - chance)[~np.isnan(mine[1:] - chance)]
    value = float(mine[0] - theirs[:, 0].mean())
    if len(others) < 2 or not len(differences):
        return Interval(value, nan, nan, len(one))
    low, high = np.quantile(differences, [0.025, 0.975])
    return Interval(value, float(low), float(high), len(one))


def _labels(count: int, groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    labels = np.arange(count)
    for members in groups:
        labels[list(members)] = min(members)
    return np.unique(labels, return_inverse=True)[1]


def _scores(values: Values, labels: NDArray[np.int64], times: Values, weights: Values) -> Values:
    """The score as it is, then that of every draw of groups."""
    measured = ~np.isnan(values)
    any_measured = measured.any(0)
    sums, counts = (np.zeros((int(labels.max()) + 1, int(any_measured.sum()))) for _ in range(2))
    np.add.at(sums, labels, np.where(measured, values, 0.0)[:, any_measured])
    np.add.at(counts, labels, measured[:, any_measured].astype(float))
    total = np.vstack([np.ones((1, len(sums))), times])
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (total @ sums) / (total @ counts)
        by = weights[any_measured]
        return by.sum() / (by / np.maximum(means, 0.0)).sum(1)
