"""Rank statistics against scipy and plain loops."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from locscope.scoring.ranks import (
    added_share,
    agreement,
    chance,
    holm,
    holm_in_turn,
    mean_ranks,
    p_added,
    p_within,
    ranks_within,
    shuffled_ranks,
    shuffled_residuals,
    shuffles_of,
    strata_of,
    trend_of,
)
from locscope.scoring.smooth import smooth_ranks

LABELS = ("a",) * 6 + ("b",) * 6 + ("c",) * 3
DEPTHS = (*range(6), *range(6), 0.5, 2.5, 4.5)
BLOCKS = np.array((*range(6), *range(6), 0, 2, 4))
STRATA = strata_of(LABELS, DEPTHS, BLOCKS)
TREND = trend_of(STRATA, DEPTHS)


def test_mean_ranks_equal_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 4, (20, 9)).astype(float)
    assert mean_ranks(values) == pytest.approx(stats.rankdata(values, axis=1))
    assert mean_ranks([3.0, 1.0, 2.0]).tolist() == [3, 1, 2]


def test_agreement_within_one_stratum_is_spearman() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 8))
    strata = strata_of(("a",) * 8, range(8), range(8))
    found = agreement(ranks_within(x, strata), ranks_within(y, strata))
    assert float(found) == pytest.approx(stats.spearmanr(x, y)[0])


def test_levels_and_scales_of_strata_do_not_count() -> None:
    x = np.random.default_rng(2).random(15)
    moved = x.copy()
    moved[6:12] = 100 * moved[6:12] - 7
    assert ranks_within(x, STRATA) == pytest.approx(ranks_within(moved, STRATA))


def test_added_share_is_what_least_squares_adds() -> None:
    rng = np.random.default_rng(3)
    x, y = (ranks_within(rng.random(15), STRATA) for _ in range(2))
    dummies = np.stack([[name == label for name in LABELS] for label in "abc"], 1).astype(float)
    depth = np.array(DEPTHS, dtype=float)
    base = np.column_stack([dummies, depth, depth**2])
    r2 = [_r2(columns, y) for columns in (base, np.column_stack([base, x]))]
    slope = np.linalg.lstsq(np.column_stack([base, x]), y)[0][-1]
    assert float(added_share(x, y, TREND)) == pytest.approx(np.sign(slope) * (r2[1] - r2[0]))


def test_an_order_that_is_depth_adds_nothing() -> None:
    y = ranks_within(np.random.default_rng(4).random(15), STRATA)
    depth = ranks_within(np.array(DEPTHS, dtype=float), STRATA)
    one = strata_of(("a",) * 6, range(6), range(6))
    trend = trend_of(one, range(6))
    assert isnan(float(added_share(depth[:6], y[:6], trend)))
    order = shuffles_of(one, np.arange(6), 99, np.random.default_rng(0))
    assert p_added(depth[:6], y[:6], trend, shuffled_residuals(y[:6], trend, order)) == 1


def test_shuffles_keep_strata_and_move_the_parts_of_a_layer_together() -> None:
    y = np.arange(15, dtype=float)
    ranks = ranks_within(y, STRATA)
    order = shuffles_of(STRATA, BLOCKS, 200, np.random.default_rng(5))
    uneven = np.tile([0.2, -0.2, 0.0], 5)
    null = shuffled_ranks(ranks + uneven, order)
    residuals = shuffled_residuals(ranks + uneven, TREND, order)
    assert null[:, :6] == pytest.approx(null[:, 6:12])
    for columns in STRATA:
        mine = np.sort(null[:, columns], axis=1)
        assert mine == pytest.approx(np.tile(mine[0], (200, 1)))
    assert len(np.unique(null.round(6), axis=0)) > 100
    assert (residuals**2).sum(1) == pytest.approx(np.ones(200))
    assert residuals @ TREND == pytest.approx(np.zeros((200, 2)), abs=1e-9)


def test_p_values_are_even_where_there_is_nothing_and_small_where_there_is() -> None:
    rng = np.random.default_rng(6)
    layers = np.tile(np.arange(12), 2)
    strata = strata_of(("a",) * 12 + ("b",) * 12, layers, layers)
    trend = trend_of(strata, layers)
    found, x, y = [], np.empty(0), np.empty(0)
    for _ in range(300):
        x, y = (ranks_within(rng.random(24), strata) for _ in range(2))
        order = shuffles_of(strata, layers, 199, rng)
        null, residuals = shuffled_ranks(y, order), shuffled_residuals(y, trend, order)
        found.append((p_within(x, y, null, [null]), p_added(x, y, trend, residuals)))
    for column in np.array(found).T:
        assert (column <= 0.05).mean() < 0.09
        assert (column <= 0.5).mean() == pytest.approx(0.5, abs=0.09)
    order = shuffles_of(strata, layers, 999, rng)
    null, residuals = shuffled_ranks(y, order), shuffled_residuals(y, trend, order)
    assert p_added(y, y, trend, residuals) == p_within(y, y, null, ()) == pytest.approx(1e-3)
    assert p_added(-y, y, trend, residuals) == pytest.approx(1)
    # Two-sided, and the larger of two kinds of chance.
    assert p_within(-y, y, null, [null]) == pytest.approx(1e-3)
    assert p_within(y, y, null, [null, np.stack([-y, x, x])]) == 0.5
    assert abs(chance(x, null).mean()) < 0.05


def test_nothing_varies_nothing_is_claimed() -> None:
    flat, y = np.zeros(15), ranks_within(np.random.default_rng(7).random(15), STRATA)
    order = shuffles_of(STRATA, BLOCKS, 99, np.random.default_rng(0))
    null, residuals = shuffled_ranks(y, order), shuffled_residuals(y, TREND, order)
    assert isnan(float(agreement(flat, y)))
    assert p_within(flat, y, null, [null]) == p_added(flat, y, TREND, residuals) == 1


def test_the_order_of_columns_decides_nothing() -> None:
    """Also where a stratum does not come by layer, or only every other layer has one."""
    rng = np.random.default_rng(8)
    x, y = rng.random((2, 15))
    wanted = _p_values(x, y, range(15))
    for _ in range(20):
        assert _p_values(x, y, rng.permutation(15)) == pytest.approx(wanted, abs=1e-12)


def _p_values(x: np.ndarray, y: np.ndarray, order: Sequence[int]) -> list[float]:
    labels, depths = ([names[i] for i in order] for names in (LABELS, DEPTHS))
    blocks = BLOCKS[list(order)]
    strata = strata_of(labels, depths, blocks)
    trend = trend_of(strata, depths)
    one, two = (ranks_within(values[list(order)], strata) for values in (x, y))
    shuffles = shuffles_of(strata, blocks, 499, np.random.default_rng(0))
    null, residuals = shuffled_ranks(two, shuffles), shuffled_residuals(two, trend, shuffles)
    smooth = smooth_ranks(one, strata, blocks, 499, np.random.default_rng(1))
    return [p_within(one, two, null, smooth), p_added(one, two, trend, residuals)]


def test_columns_in_any_order_are_shuffled_by_layer() -> None:
    """Two strata with the same outcome, one of them from the last layer down: shuffles move whole
    layers, so that they stay alike."""
    layers = np.array([*range(10), *range(9, -1, -1)])
    strata = strata_of(("a",) * 10 + ("b",) * 10, layers, layers)
    y = np.random.default_rng(9).random(10)
    ranks = ranks_within(np.concatenate([y, y[::-1]]), strata)
    null = shuffled_ranks(ranks, shuffles_of(strata, layers, 50, np.random.default_rng(0)))
    assert null[:, :10] == pytest.approx(null[:, :9:-1])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, nan, 0.03]) == pytest.approx((0.03, 0.06, nan, 0.06), nan_ok=True)
    assert holm([0.6, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_in_turn_by_hand() -> None:
    """Three pairs: the first gives its share on when both of its claims are made."""
    first, second = holm_in_turn([0.001, 0.02, nan, 0.03], [0.01, 0.9, 0.0, 0.001])
    assert first == pytest.approx((0.003, 0.04, nan, 0.06), nan_ok=True)
    assert second == pytest.approx((0.03, 0.9, nan, 0.06), nan_ok=True)
    assert holm_in_turn([], []) == ((), ())


def test_holm_in_turn_without_second_claims_is_holm() -> None:
    p = np.random.default_rng(10).random(12) ** 3
    assert holm_in_turn(p, [0.0] * 12)[0] == pytest.approx(holm(p))


def test_false_claims_of_both_kinds_stay_below_the_level_together() -> None:
    """Half of the scans know depth alone: their first claim is true, their second is not."""
    rng, fooled = np.random.default_rng(11), 0
    for _ in range(4000):
        first, second = rng.random(10), rng.random(10)
        first[:5] = 1e-6
        one, other = holm_in_turn(first, second)
        fooled += min(one[5:]) < 0.05 or min(other) < 0.05
    assert fooled / 4000 < 0.06


def _r2(columns: np.ndarray, y: np.ndarray) -> float:
    fitted = columns @ np.linalg.lstsq(columns, y)[0]
    return 1 - float(((y - fitted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
