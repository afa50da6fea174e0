from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from locscope.scoring.objectives import harmonic
from locscope.scoring.statistics import (
    chance_corrected,
    mean_interval,
    overlaps_zero,
    paired_margin,
    ratio_interval,
    spearman,
)

NUMBERS = st.lists(st.integers(-5, 5) | st.just(nan), min_size=3, max_size=20)


def slow_bootstrap(statistic, groups, draws=4000):
    """Percentiles of the statistic over groups drawn one by one with replacement."""
    rng = np.random.default_rng(123)
    found = []
    for _ in range(draws):
        drawn = rng.integers(0, len(groups), len(groups))
        found.append(statistic([i for g in drawn for i in groups[g]]))
    return np.nanquantile(found, [0.025, 0.975])


def test_mean_interval_equals_scipy_where_every_value_is_a_group():
    values = np.random.default_rng(0).normal(2, 1, 200)
    ours = mean_interval(values, draws=8000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=8000, rng=1)
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def test_mean_interval_draws_whole_groups_and_leaves_nan_out():
    rng = np.random.default_rng(1)
    groups = [tuple(range(i, i + 4)) for i in range(0, 80, 4)]
    values = np.repeat(rng.normal(0, 1, 20), 4)
    values[::7] = nan
    ours = mean_interval(values, groups, draws=8000)
    low, high = slow_bootstrap(lambda index: np.nanmean(values[index]), groups)
    assert ours.count == int((~np.isnan(values)).sum())
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.03)
    alone = mean_interval(values, draws=8000)
    assert ours.high - ours.low > 1.5 * (alone.high - alone.low)


def test_same_seed_same_interval():
    values = [0.0, 1.0, 1.0, 0.5]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)


@pytest.mark.parametrize(
    ("values", "groups", "value", "count"),
    [
        ([], None, nan, 0),
        ([nan, nan], None, nan, 0),
        ([0.5], None, 0.5, 1),
        ([0.5, nan], None, 0.5, 1),
        ([0.0, 1.0], [(0, 1)], 0.5, 2),
        ([1.0, inf], None, inf, 2),
    ],
)
def test_too_little_for_an_interval(values, groups, value, count):
    ours = mean_interval(values, groups)
    assert ours.value == pytest.approx(value, nan_ok=True)
    assert ours.count == count
    assert isnan(ours.low)
    assert isnan(ours.high)


def test_paired_margin_of_one_value_per_edit():
    rng = np.random.default_rng(2)
    a = rng.random(60)
    b = a - 0.1 + rng.normal(0, 0.01, 60)
    b[0] = nan
    ours = paired_margin(a, b)
    assert ours.value == pytest.approx((a - b)[1:].mean())
    assert (ours.low, ours.high) == pytest.approx((0.1, 0.1), abs=0.01)
    assert ours.count == 59
    assert not overlaps_zero(ours)
    assert overlaps_zero(paired_margin(a, a))


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
def test_paired_margin_of_harmonic_scores_against_the_slow_way(weights):
    rng = np.random.default_rng(3)
    a, b = rng.random((40, 3)), rng.random((40, 3)) * 0.8
    a[::3, 1] = nan
    b[1::4, 1] = nan
    groups = [(i, i + 1) for i in range(0, 40, 2)]
    both = np.isnan(a) | np.isnan(b)
    one, two = np.where(both, nan, a), np.where(both, nan, b)

    def margin(index):
        left, right = np.nanmean(one[index], 0), np.nanmean(two[index], 0)
        return harmonic(left, weights) - harmonic(right, weights)

    ours = paired_margin(a, b, groups, weights, draws=8000)
    assert ours.value == pytest.approx(margin(list(range(40))))
    assert (ours.low, ours.high) == pytest.approx(slow_bootstrap(margin, groups), abs=0.02)
    assert ours.count == 40


def test_paired_margin_leaves_out_a_term_that_one_side_lacks():
    a = np.array([[1.0, 0.5], [0.5, 0.5], [1.0, 0.5]])
    b = np.array([[0.5, nan], [0.5, nan], [1.0, nan]])
    assert paired_margin(a, b).value == pytest.approx(paired_margin(a[:, 0], b[:, 0]).value)
    assert isnan(paired_margin([nan, nan], [1.0, 1.0]).value)
    assert paired_margin([0.0, 0.0], [0.0, 0.0]).value == 0
    alone = paired_margin(a, b, weights=(1.0, 5.0)).value
    assert alone == pytest.approx(paired_margin(a[:, 0], b[:, 0]).value)
    zeros = np.zeros((3, 2))
    assert paired_margin(a, zeros).value == pytest.approx(harmonic(a.mean(0)))
    with pytest.raises(ValueError, match="same edits"):
        paired_margin([1.0], [1.0, 2.0])


@given(NUMBERS, st.randoms())
def test_spearman_equals_scipy(x, random):
    y = [value + random.choice([-2, 0, 0, 2]) for value in x]
    kept = [(a, b) for a, b in zip(x, y, strict=True) if not isnan(a) and not isnan(b)]
    constant = any(len(set(side)) < 2 for side in zip(*kept, strict=True)) if kept else True
    if len(kept) < 3 or constant:
        assert isnan(spearman(x, y))
    else:
        expected = stats.spearmanr(*zip(*kept, strict=True)).statistic
        assert spearman(x, y) == pytest.approx(expected)


def test_chance_corrected():
    assert chance_corrected(0.25, 0.25) == 0
    assert chance_corrected(1.0, 0.25) == 1
    assert chance_corrected(0.0, 0.5) == -1
    assert isnan(chance_corrected(1.0, 1.0))


def test_a_constant_ratio_has_no_width_whatever_the_sizes() -> None:
    sizes = [5, 60, 12, 30]
    found = ratio_interval([0.1 * size for size in sizes], sizes)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_ratio_interval_is_the_slow_bootstrap_s() -> None:
    rng = np.random.default_rng(1)
    sums, sizes = rng.normal(2, 1, 40), rng.integers(5, 30, 40)
    found = ratio_interval(sums, sizes, seed=3)
    slow = []
    for _ in range(2000):
        some = rng.integers(0, 40, 40)
        slow.append(sums[some].sum() / sizes[some].sum())
    low, high = np.quantile(slow, [0.025, 0.975])
    assert found.value == pytest.approx(sums.sum() / sizes.sum())
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_a_sum_without_end_leaves_no_interval() -> None:
    found = ratio_interval([1.0, float("inf")], [2, 3])
    assert found.value == float("inf")
    assert isnan(found.low)
