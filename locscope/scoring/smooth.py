"""Random scores as smooth over depth as a scan's own; numbers only.

Neighbouring layers are alike, so that a scan which knows nothing runs with or against the outcome
over many of them at once. Of few layers nearly all shuffles are rougher than such a scan, and make
too little of that (`analyses/random_scans.py` has how often). Here chance is a Gaussian process
whose power falls as k ** -2a over the cosine waves k of depth, white at a = 0 and a random walk at
1. Its a gives the squared steps between layers, over squares, that the scan itself has (von Neumann
1941): those of all its parts, or of their mean where this is smoother, since noise in single parts
would hide a trend that they share. Parts vary together as those of the scan do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locscope.scoring.ranks import Design, ranks_within

Values = NDArray[np.float64]
_FALLS = np.linspace(0.0, 6.0, 241)
"""Values of a that are tried; at 6 all but the first wave is nothing."""


@dataclass(frozen=True)
class Waves:
    """Cosine waves over layers, shape (layers, waves), and the squared step of each: what
    (f[l + 1] - f[l]) ** 2 sums up to where f has length 1."""

    shapes: Values
    steps: Values


def smooth_ranks(x: Values, within: Design, count: int, rng: np.random.Generator) -> Values:
    """Ranks within strata of so many random scores as smooth as x, shape (count, columns)."""
    layer, stratum = _cells(within)
    grid = _grid(x, layer, stratum)
    waves = _waves(len(grid))
    fall = _fall(_roughness(grid), waves)
    powers = np.arange(1.0, len(grid)) ** -fall
    # A square root of the parts' covariance: what they have in common they have by chance, too.
    sizes, axes = np.linalg.eigh(grid.T @ grid)
    parts = axes * np.sqrt(np.maximum(sizes, 0.0)) @ axes.T
    drawn = rng.standard_normal((count, len(powers), len(parts))) @ parts
    made = (waves.shapes * powers) @ drawn
    return ranks_within(made[:, layer, stratum], within)


def _cells(within: Design) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each column's layer, from the lowest that is there, and of its stratum."""
    _, layer = np.unique(within.blocks, return_inverse=True)
    stratum = np.empty_like(layer)
    for i, columns in enumerate(within.strata):
        stratum[columns] = i
    return layer, stratum


def _grid(x: Values, layer: NDArray[np.int64], stratum: NDArray[np.int64]) -> Values:
    """Centred values by layer and stratum, shape (layers, strata); straight lines over gaps."""
    layers = np.arange(layer.max() + 1)
    columns = []
    for i in range(int(stratum.max()) + 1):
        mine = stratum == i
        there = np.unique(layer[mine])
        known = [float(x[mine & (layer == n)].mean()) for n in there]
        columns.append(np.interp(layers, there, known))
    grid = np.stack(columns, axis=1)
    return grid - grid.mean(0)


def _waves(layers: int) -> Waves:
    """All of them but the constant: they are the principal axes of squared steps."""
    number, middle = np.arange(1, layers), np.arange(layers) + 0.5
    shapes = np.sqrt(2 / layers) * np.cos(np.pi * np.outer(middle, number) / layers)
    return Waves(shapes, 2 - 2 * np.cos(np.pi * number / layers))


def _roughness(grid: Values) -> float:
    """Squared steps between layers over squares, of all strata or of their mean: the smaller."""
    found = [
        float((np.diff(one, axis=0) ** 2).sum() / squares)
        for one in (grid, grid.mean(1, keepdims=True))
        if (squares := float((one**2).sum())) > 0
    ]
    return min(found, default=0.0)


def _fall(roughness: float, waves: Waves) -> float:
    """The a at which squared steps over squares are as given; 0 where even white noise has less."""
    powers = np.arange(1.0, len(waves.steps) + 1)[:, None] ** (-2 * _FALLS)
    expected = waves.steps @ powers / powers.sum(0)
    return float(np.interp(-roughness, -expected, _FALLS))
