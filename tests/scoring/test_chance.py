"""Margins over several random locations: against a slow loop, exact draws and sums by hand."""

from itertools import product
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locscope.scoring import chance
from locscope.scoring.chance import margin_over_mean
from locscope.scoring.statistics import paired_margin

FEW = 40


def slow_score(rows, terms, weights):
    """The weighted harmonic mean of the means of these terms over these rows, one by one."""
    means = []
    for term in terms:
        found = [row[term] for row in rows if not isnan(row[term])]
        if not found:
            return nan
        means.append(sum(found) / len(found))
    if not means:
        return nan
    if min(means) <= 0:
        return 0.0
    by = [weights[term] for term in terms]
    return sum(by) / sum(w / m for w, m in zip(by, means, strict=True))


def slow_margin(one, others, groups, weights, seed):
    rng = np.random.default_rng(seed)
    grouped = {row for group in groups for row in group}
    whole = [*map(list, groups), *([row] for row in range(len(one)) if row not in grouped)]
    whole.sort(key=min)
    times = rng.multinomial(len(whole), [1 / len(whole)] * len(whole), FEW)
    drawn = rng.integers(len(others), size=(len(others), FEW))
    every = list(range(len(one)))

    def scored(location, rows):
        terms = [t for t in range(len(weights)) if not all(isnan(row[t]) for row in location)]
        return slow_score([location[row] for row in rows], terms, weights)

    value = scored(one, every) - np.mean([scored(other, every) for other in others])
    differences = []
    for draw in range(FEW):
        rows = [row for group, n in zip(whole, times[draw], strict=True) for row in group * int(n)]
        theirs = [scored(others[drawn[i, draw]], rows) for i in range(len(others))]
        differences.append(scored(one, rows) - np.mean(theirs))
    known = [difference for difference in differences if not isnan(difference)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (nan, nan)
    return value, low, high


CELL = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, nan])


@given(
    st.integers(2, 4),
    st.integers(1, 3),
    st.data(),
    st.sampled_from([(), ((0, 1),), ((0, 4), (1, 2, 3))]),
    st.integers(0, 3),
)
def test_it_equals_a_slow_loop(count, terms, data, groups, seed):
    table = st.lists(st.lists(CELL, min_size=terms, max_size=terms), min_size=6, max_size=6)
    one, *others = (np.array(data.draw(table)) for _ in range(count + 1))
    weights = [1.0, 2.0, 0.5][:terms]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chance, "DRAWS", FEW)
        found = margin_over_mean(one, others, groups, weights, seed=seed)
    expected = slow_margin(one.tolist(), [o.tolist() for o in others], groups, weights, seed)
    assert (found.value, found.low, found.high) == pytest.approx(expected, nan_ok=True)


def constant(score):
    return np.full((10, 1), score)


def test_what_is_drawn_of_locations_has_the_exact_quantiles():
    """Edits that are all alike leave the locations: each of 27 draws of three is as likely."""
    scores = (0.2, 0.4, 0.9)
    found = margin_over_mean(constant(1.0), [constant(s) for s in scores], (), [1.0])
    exact = sorted(1 - np.mean(draw) for draw in product(scores, repeat=3))
    assert found.value == pytest.approx(0.5)
    # One draw in 27 has the worst three times, and one the best: both are beyond 2.5 %.
    assert (found.low, found.high) == pytest.approx((exact[0], exact[-1]))


def test_the_interval_widens_with_the_spread_of_locations():
    rng = np.random.default_rng(0)
    one, base = rng.random((40, 1)), rng.random((40, 1)) / 2

    def width(shifts):
        found = margin_over_mean(one, [base + shift for shift in shifts], (), [1.0])
        assert found.value == pytest.approx(one.mean() - base.mean() - 0.25)
        return found.high - found.low

    alike, near, far = width([0.25] * 5), width([0.2, 0.25, 0.3] * 2), width([0.0, 0.5] * 3)
    assert alike < near < far
    # Locations that are all alike are one: that is the paired margin over it.
    paired = paired_margin(one, base + 0.25)
    assert alike == pytest.approx(paired.high - paired.low, rel=0.1)


def test_few_or_none_leave_no_interval():
    single = margin_over_mean(constant(1.0), [constant(0.4)], (), [1.0])
    assert (single.value, single.count) == (pytest.approx(0.6), 10)
    assert isnan(single.low)
    assert isnan(single.high)
    assert isnan(margin_over_mean(constant(1.0), [], (), [1.0]).value)
    blank = margin_over_mean(constant(nan), [constant(0.4), constant(0.2)], (), [1.0])
    assert isnan(blank.value)
    assert isnan(blank.low)
