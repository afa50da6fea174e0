"""Intervals over repetitions against scipy and against simulation."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from locscope.scoring.repetitions import repeated, shared_edits, t_quantile


@given(st.floats(0.51, 0.999), st.integers(1, 60))
def test_t_quantile_equals_scipy(level, freedom):
    assert t_quantile(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_without_shared_edits_it_is_the_t_interval(values):
    found = repeated([*values, nan])
    scale = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), scale or 1e-300)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert found.count == len(values)


def test_too_few_have_no_interval():
    assert isnan(repeated([]).value)
    assert repeated([0.5]).value == 0.5
    assert isnan(repeated([0.5, nan]).low)
    assert isnan(repeated([0.4, 0.6], shared=1.0).low)
    assert repeated([0.4, 0.6], shared=1.0).value == pytest.approx(0.5)


def test_shared_edits_is_the_mean_over_pairs():
    assert shared_edits(["ab", "bc", "ab"]) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert shared_edits(["ab"]) == 0


def covers(rng: np.random.Generator, shared: bool) -> bool:
    """Whether the interval from five subsets of 60 drawn edits holds the true mean, 0."""
    edits = rng.normal(size=60)
    subsets = [rng.choice(60, 30, replace=False) for _ in range(5)]
    share = shared_edits([[str(i) for i in subset] for subset in subsets])
    found = repeated([float(edits[s].mean()) for s in subsets], share if shared else 0.0)
    return found.low <= 0 <= found.high


def test_overlap_is_made_up_for():
    rng = np.random.default_rng(0)
    naive = np.mean([covers(rng, False) for _ in range(600)])
    ours = np.mean([covers(rng, True) for _ in range(600)])
    assert naive < 0.88
    assert ours > 0.93
