"""Random scores as smooth over depth as a scan's own; numbers only.

Neighbouring layers are alike, so that a scan which knows nothing runs with or against the outcome
over many of them at once. Of few layers nearly all shuffles are rougher than such a scan, and make
too little of that (`analyses/random_scans.py` has how often). Here chance is a Gaussian process
whose power falls as k ** -2a over the cosine waves k of depth, white at a = 0 and a random walk at
1. There are two of them. The a of one gives the squared steps between layers, over squares, that
the scan itself has (von Neumann 1941). Noise would hide a trend from that, so the a of the other
gives the share of the slowest wave. Both are taken of all parts and of their mean, whichever is
smoother. Parts vary together as those of the scan do.
"""

import numpy as np
from numpy.typing import NDArray

from locscope.scoring.ranks import Indices, Strata, ranks_within

Values = NDArray[np.float64]
_FALLS = np.linspace(0.0, 6.0, 241)
"""Values of a that are tried; at 6 all but the first wave is nothing."""


def smooth_ranks(
    x: Values, strata: Strata, blocks: Indices, count: int, rng: np.random.Generator
) -> tuple[Values, ...]:
    """Ranks within strata of so many random scores as smooth as x, shape (count, columns).

    Of each way to tell how smooth x is, where they differ.
    """
    layer, stratum = _cells(strata, blocks)
    grid = _grid(x, layer, stratum)
    waves = _waves(len(grid))
    drawn = (_drawn(grid, waves, fall, count, rng) for fall in _falls(grid, waves))
    return tuple(ranks_within(scores[:, layer, stratum], strata) for scores in drawn)


def _drawn(
    grid: Values, waves: Values, fall: float, count: int, rng: np.random.Generator
) -> Values:
    """Random values whose waves fall so and whose parts vary as the grid's, (count, *grid)."""
    powers = np.arange(1.0, len(grid)) ** -fall
    # A square root of the parts' covariance: what they have in common they have by chance, too.
    sizes, axes = np.linalg.eigh(grid.T @ grid)
    parts = axes * np.sqrt(np.maximum(sizes, 0.0)) @ axes.T
    drawn = rng.standard_normal((count, len(powers), len(parts))) @ parts
    return (waves * powers) @ drawn


def _cells(strata: Strata, blocks: Indices) -> tuple[Indices, Indices]:
    """The number of each column's layer, from the lowest that is there, and of its stratum."""
    _, layer = np.unique(blocks, return_inverse=True)
    stratum = np.empty_like(layer)
    for i, columns in enumerate(strata):
        stratum[columns] = i
    return layer, stratum


def _grid(x: Values, layer: NDArray[np.int64], stratum: NDArray[np.int64]) -> Values:
    """Centred values by layer and stratum, shape (layers, strata); straight lines over gaps."""
    layers = np.arange(layer.max() + 1)
    columns = []
    for i in range(int(stratum.max()) + 1):
        mine = stratum == i
        there = np.unique(layer[mine])
        measured = [float(x[mine & (layer == n)].mean()) for n in there]
        # A scan may lack layers, and a jump over a gap would count as rough.
        columns.append(np.interp(layers, there, measured))
    grid = np.stack(columns, axis=1)
    return grid - grid.mean(0)


def _waves(layers: int) -> Values:
    """Cosine waves of length 1, shape (layers, waves): the principal axes of squared steps."""
    # Without the constant wave: values are centred.
    number, middle = np.arange(1, layers), np.arange(layers) + 0.5
    return np.sqrt(2 / layers) * np.cos(np.pi * np.outer(middle, number) / layers)


def _squared_steps(layers: int) -> Values:
    """What (f[l + 1] - f[l]) ** 2 sums up to over a wave f, shape (waves,)."""
    return 2 - 2 * np.cos(np.pi * np.arange(1, layers) / layers)


def _falls(grid: Values, waves: Values) -> list[float]:
    """The a by squared steps, and that by the slowest wave where it is larger."""
    steps = _squared_steps(len(grid))
    own = [values for values in (grid, grid.mean(1, keepdims=True)) if values.any()]
    powers = np.arange(1.0, len(grid))[:, None] ** (-2 * _FALLS)
    share = powers / powers.sum(0)
    shares = [_shares(values, waves) for values in own]
    by_steps = min((float(steps @ each) for each in shares), default=0.0)
    by_slowest = max((float(each[0]) for each in shares), default=1.0)
    falls = (
        # Both negated, as interpolation wants rising values and steps fall with a.
        float(np.interp(-by_steps, -(steps @ share), _FALLS)),
        float(np.interp(by_slowest, share[0], _FALLS)),
    )
    return sorted({falls[0], max(falls)})


def _shares(values: Values, waves: Values) -> Values:
    """The share of every wave in the squares of centred values, (layers, any)."""
    squares = ((waves.T @ values) ** 2).sum(1)
    # Shares, so that the scale of a scan's scores does not count.
    return squares / squares.sum()
