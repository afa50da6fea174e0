"""Reading bounds, and by how much they are missed."""

from math import inf, isnan, nan

import pytest
from hand_made import BALANCED, OBJECTIVES
from hypothesis import given
from hypothesis import strategies as st

from locscope.errors import UsageError
from locscope.evaluation.measures import MEASURES
from locscope.records import Measure
from locscope.scoring.bounds import (
    BOUNDABLE,
    Bound,
    bound_of,
    crossing,
    headroom,
    mendable,
    ratio_limit,
    shortfall,
    violations,
)


def measure(name: str, value: float, low: float = nan, high: float = nan, count: int = 10):
    return Measure(name, value, count, "test", low, high)


def test_every_measure_can_be_bounded():
    assert set(BOUNDABLE) == set(MEASURES)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("perplexity_ratio<=1.1", Bound("perplexity_ratio", "at most", 1.1, needed=True)),
        (" retention >= 9e-1 ", Bound("retention", "at least", 0.9, needed=True)),
        ("retention>=0.9 surely", Bound("retention", "at least", 0.9, True, True)),
        ("kl<=inf", Bound("kl", "at most", inf, needed=True)),
        ("locality>=1", Bound("locality", "at least", 1.0, needed=True)),
    ],
)
def test_a_bound_is_read(text, bound):
    assert bound_of(text) == bound


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("perplexity_ratio<1.1", "cannot read bound 'perplexity_ratio<1.1'"),
        ("perplexity_ratio", "cannot read bound"),
        ("perplexity_ratio<=", "cannot read bound"),
        ("perplexity_ratio<=high", "cannot read bound"),
        ("kl<=nan", "cannot read bound"),
        ("kl<=1 perhaps", "cannot read bound"),
        ("", "cannot read bound"),
        ("perplexity<=1.1", "unknown measure 'perplexity': did you mean perplexity_ratio"),
        ("reliability>=95", "a share from 0 to 1"),
        ("reliability>=inf", "a share from 0 to 1"),
    ],
)
def test_what_is_no_bound_is_refused(text, words):
    with pytest.raises(UsageError) as refused:
        bound_of(text)
    assert words in str(refused.value)


SIDES = st.sampled_from(["at most", "at least"])
LIMITS = st.integers(0, 1000).map(lambda n: n / 1000)


@given(st.sampled_from(BOUNDABLE), SIDES, LIMITS, st.booleans())
def test_a_bound_reads_back(name, side, limit, sure):
    bound = Bound(name, side, limit, sure, needed=True)
    assert bound_of(str(bound)) == bound


def test_bounds_of_objectives_read_back():
    bounds = [bound for objective in OBJECTIVES.values() for bound in objective.bounds]
    again = [bound_of(str(bound)) for bound in bounds]
    assert [str(bound) for bound in again] == [str(bound) for bound in bounds]


@pytest.mark.parametrize(
    ("measures", "sentences"),
    [
        ([], ()),
        ([measure("perplexity_ratio", 1.05)], ()),
        ([measure("perplexity_ratio", 1.0512)], ("perplexity_ratio 1.051 is above 1.05",)),
        ([measure("perplexity_ratio", inf)], ("perplexity_ratio inf is above 1.05",)),
        ([measure("perplexity_ratio", nan, count=0)], ()),
        (
            [measure("perplexity_ratio", nan)],
            ("perplexity_ratio of 10 items is not a finite number",),
        ),
        ([measure("retention", 0.9, 0.8, 0.97)], ()),
        (
            [measure("retention", 0.9, 0.88, 0.94)],
            ("retention 0.9 (at most 0.94) is below 0.95",),
        ),
        ([measure("retention", 0.9)], ("retention 0.9 is below 0.95",)),
    ],
)
def test_violations(measures, sentences):
    assert violations(measures, BALANCED.bounds) == sentences
    assert (shortfall(measures, BALANCED.bounds) > 0) == bool(sentences)


def test_a_sure_upper_bound_goes_by_the_lower_end():
    bound = Bound("kl", "at most", 0.1, sure=True)
    assert violations([measure("kl", 0.2, 0.05, 0.3)], [bound]) == ()
    assert violations([measure("kl", 0.2, 0.15, 0.3)], [bound]) == (
        "kl 0.2 (at least 0.15) is above 0.1",
    )


def test_shortfall_is_the_sum_of_relative_misses():
    measures = [measure("perplexity_ratio", 1.26), measure("retention", 0.76)]
    assert shortfall(measures, BALANCED.bounds) == pytest.approx(0.2 + 0.2)
    assert shortfall([measure("kl", 0.5)], [Bound("kl", "at most", 0.0)]) == 0.5
    assert shortfall([measure("kl", inf)], [Bound("kl", "at most", 0.1)]) == inf
    assert shortfall([measure("kl", nan)], [Bound("kl", "at most", 0.1)]) == inf
    assert shortfall([measure("kl", inf)], [bound_of("kl<=inf")]) == 0
    assert shortfall([], BALANCED.bounds) == 0
    assert not isnan(shortfall([measure("kl", nan, count=0)], [Bound("kl", "at most", 0.1)]))


def test_the_first_limit_on_the_way_is_where_bounds_are_crossed():
    bounds = (Bound("perplexity_ratio", "at most", 1.05), Bound("retention", "at least", 0.9))
    kept = (measure("perplexity_ratio", 1.01), measure("retention", 1.0))

    def far(ratio: float, retention: float) -> float:
        broken = (measure("perplexity_ratio", ratio), measure("retention", retention))
        return crossing(kept, broken, bounds)

    assert far(1.09, 1.0) == pytest.approx(0.5)
    assert far(1.09, 0.6) == pytest.approx(0.25)
    assert far(1.09, 0.85) == pytest.approx(0.5)
    assert far(1.04, 0.95) == 1.0
    assert far(inf, 1.0) == far(nan, 1.0) == 0.0
    assert crossing(kept, (), bounds) == 1.0
    sure = (Bound("retention", "at least", 0.9, sure=True),)
    ends = measure("retention", 0.8, 0.7, 0.85)
    assert crossing((measure("retention", 0.95, 0.9, 1.0),), (ends,), sure) == pytest.approx(2 / 3)


def test_headroom_is_what_the_nearest_limit_allows_over_what_was_lost():
    ratio, kl = Bound("perplexity_ratio", "at most", 1.05), Bound("kl", "at most", 0.1)
    kept = Bound("retention", "at least", 0.9)

    def bound_margin(*measures: Measure) -> float:
        return headroom(measures, (ratio, kl, kept, Bound("reliability", "at least", 0.95)))

    assert bound_margin(measure("perplexity_ratio", 1.05**2)) == pytest.approx(1 / 2)
    assert bound_margin(measure("perplexity_ratio", 1.01), measure("kl", 0.05)) == pytest.approx(2)
    assert bound_margin(measure("kl", 0.05), measure("retention", 0.6)) == pytest.approx(1 / 4)
    assert bound_margin(measure("perplexity_ratio", 0.99), measure("retention", 1.02)) == inf
    assert bound_margin(measure("perplexity_ratio", nan)) == bound_margin(measure("kl", inf)) == 0
    assert isnan(bound_margin(measure("reliability", 0.5), measure("kl", nan, count=0)))
    sure = Bound("retention", "at least", 0.9, sure=True)
    assert headroom([measure("retention", 0.8, 0.7, 0.95)], [sure]) == pytest.approx(2)
    assert headroom([measure("kl", 0.5)], [Bound("kl", "at most", 0.0)]) == 0
    assert headroom([measure("perplexity_ratio", 0.97)], [bound_of("perplexity_ratio<=0.95")]) == 0
    assert isnan(headroom([measure("kl", 0.5)], [bound_of("kl>=0.01")]))


def test_the_limit_on_the_ratio_is_the_strictest():
    bounds = [bound_of(f"perplexity_ratio<={limit}") for limit in (1.1, 1.05)]
    assert ratio_limit([bound_of("kl<=0.1"), *bounds]) == 1.05
    assert isnan(ratio_limit([bound_of("mean_perplexity_ratio<=1.05")]))
    assert isnan(ratio_limit([bound_of("perplexity_ratio>=1.01")]))


def test_a_lower_rate_mends_collapse_alone():
    bounds = (*BALANCED.bounds, Bound("reliability", "at least", 0.95))
    assert mendable([measure("perplexity_ratio", 3.0), measure("reliability", 1.0)], bounds)
    assert not mendable([measure("perplexity_ratio", 3.0), measure("reliability", 0.9)], bounds)
    assert mendable([], bounds)
