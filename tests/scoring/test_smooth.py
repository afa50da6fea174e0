"""Random scores as smooth as a scan, against plain drawing and counting."""

from itertools import pairwise

import numpy as np
import pytest

from locscope.scoring.ranks import Strata, ranks_within, strata_of
from locscope.scoring.smooth import _falls, _grid, _squared_steps, _waves, smooth_ranks

PARTS, LAYERS = 4, 12
BLOCKS = np.tile(np.arange(LAYERS), PARTS)


def whole() -> Strata:
    labels = [f"part {i}" for i in range(PARTS) for _ in range(LAYERS)]
    return strata_of(labels, BLOCKS, BLOCKS)


def walk(rng: np.random.Generator, layers: int = LAYERS, parts: int = PARTS) -> np.ndarray:
    """A random walk over layers in every part, half of it in common; (parts * layers)."""
    steps = rng.normal(size=(parts, layers)) + rng.normal(size=(1, layers))
    return steps.cumsum(1).flatten()


def steps_over_squares(row: np.ndarray, layers: int = LAYERS) -> float:
    grid = row.reshape(-1, layers)
    steps = sum((b - a) ** 2 for one in grid for a, b in pairwise(one))
    return float(steps / sum(a**2 for one in grid for a in one))


def test_waves_are_the_principal_axes_of_squared_steps() -> None:
    waves = _waves(9)
    steps = np.diff(np.eye(9), axis=0)
    wanted = np.sort(np.linalg.eigvalsh(steps.T @ steps))[1:]
    assert _squared_steps(9) == pytest.approx(wanted)
    assert waves.T @ waves == pytest.approx(np.eye(8), abs=1e-12)
    assert waves.T @ steps.T @ steps @ waves == pytest.approx(np.diag(wanted))


@pytest.mark.parametrize("fall", [0.0, 0.7, 1.0, 2.0])
def test_the_fall_is_found_again_in_what_was_drawn_with_it(fall: float) -> None:
    rng, waves = np.random.default_rng(0), _waves(30)
    powers = np.arange(1.0, 30) ** -fall
    drawn = (waves * powers) @ rng.normal(size=(29, 4000))
    drawn -= drawn.mean(1, keepdims=True)  # so that the mean of parts tells nothing
    assert _falls(drawn, waves) == pytest.approx([fall] * len(_falls(drawn, waves)), abs=0.1)


def test_one_fall_is_by_steps_and_one_by_the_slowest_wave() -> None:
    """A line with noise: its steps are those of a rougher process, its trend of a smoother one."""
    rng, waves = np.random.default_rng(4), _waves(LAYERS)
    grid = np.linspace(-1.7, 1.7, LAYERS)[:, None] + rng.normal(size=(LAYERS, 1))
    grid -= grid.mean(0)
    by_steps, by_slowest = _falls(grid, waves)
    power = [np.arange(1.0, LAYERS) ** (-2 * fall) for fall in (by_steps, by_slowest)]
    steps = (_squared_steps(LAYERS) * power[0]).sum() / power[0].sum()
    assert steps == pytest.approx(steps_over_squares(grid.T.flatten()), rel=0.01)
    slowest = (waves[:, 0] @ grid[:, 0]) ** 2 / (grid**2).sum()
    assert power[1][0] / power[1].sum() == pytest.approx(slowest, rel=0.01)


def test_what_is_drawn_is_no_rougher_than_the_scan() -> None:
    rng, strata = np.random.default_rng(1), whole()
    for values in (rng.normal(size=PARTS * LAYERS), walk(rng)):
        ranks = ranks_within(values, strata)
        drawn = smooth_ranks(ranks, strata, BLOCKS, 2000, rng)[0]
        assert drawn.shape == (2000, PARTS * LAYERS)
        assert np.sort(drawn, 1) == pytest.approx(np.tile(np.sort(ranks), (2000, 1)))
        found = np.mean([steps_over_squares(row) for row in drawn[:500]])
        # Of all parts or of their mean, whichever is smoother; a mean of ratios, not their ratio.
        assert found <= 1.3 * steps_over_squares(ranks)


def test_parts_vary_together_as_those_of_the_scan_do() -> None:
    rng, strata = np.random.default_rng(2), whole()
    common = np.tile(rng.normal(size=LAYERS).cumsum(), PARTS)
    (drawn, *_) = smooth_ranks(ranks_within(common, strata), strata, BLOCKS, 50, rng)
    first = drawn[:, :LAYERS]
    assert np.tile(first, (1, PARTS)) == pytest.approx(drawn)
    (alone, *_) = smooth_ranks(ranks_within(rng.normal(size=48), strata), strata, BLOCKS, 500, rng)
    between = [np.corrcoef(one.reshape(PARTS, LAYERS))[0, 1] for one in alone]
    assert abs(np.mean(between)) < 0.7


def test_missing_layers_of_a_part_are_filled_by_straight_lines() -> None:
    layer, stratum = np.array([0, 1, 2, 3, 0, 2]), np.array([0, 0, 0, 0, 1, 1])
    found = _grid(np.array([1.0, 2.0, 3.0, 6.0, 4.0, 8.0]), layer, stratum)
    assert found[:, 0] == pytest.approx(np.array([1, 2, 3, 6]) - 3)
    assert found[:, 1] == pytest.approx(np.array([4, 6, 8, 8]) - 6.5)


def test_noise_in_single_parts_does_not_hide_a_trend_that_they_share() -> None:
    rng, waves = np.random.default_rng(3), _waves(LAYERS)
    noise = rng.normal(size=(LAYERS, PARTS))
    grid = np.linspace(-1.7, 1.7, LAYERS)[:, None] + noise
    grid -= grid.mean(0)
    mean = grid.mean(1, keepdims=True)
    assert _falls(grid, waves) == _falls(mean, waves)
    assert _falls(grid, waves)[0] > _falls(grid - mean, waves)[0]


def test_scores_all_alike_are_random_nothing() -> None:
    strata = whole()
    drawn = smooth_ranks(np.zeros(48), strata, BLOCKS, 10, np.random.default_rng(0))
    assert not any(one.any() for one in drawn)
