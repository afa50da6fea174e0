from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from locscope.errors import UsageError
from locscope.records import Measure
from locscope.scoring.objectives import (
    BALANCED,
    OBJECTIVES,
    Bound,
    harmonic,
    objective,
    score,
    violations,
)


def measure(name: str, value: float, low: float = nan, high: float = nan, count: int = 10):
    return Measure(name, value, count, "test", low, high)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_harmonic_equals_scipy(values):
    assert harmonic(values) == pytest.approx(stats.hmean(values))


def test_harmonic_at_the_ends():
    assert harmonic([1.0, 0.0]) == 0
    assert isnan(harmonic([]))
    assert isnan(harmonic([1.0, nan]))


def test_the_score_is_named_for_what_it_holds():
    full = [measure("reliability", 1.0), measure("generalization", 0.5), measure("locality", 1.0)]
    assert score(full).name == "harmonic(reliability, generalization, locality)"
    assert score(full).value == pytest.approx(0.75)
    without = [full[2], measure("generalization", nan, count=0), full[0]]
    assert score(without) == type(score(full))("harmonic(reliability, locality)", 1.0)
    assert score(full[:1], ["reliability"]).name == "harmonic(reliability)"
    assert isnan(score([]).value)
    assert score([]).name == "nothing measured"


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
    assert violations(measures, BALANCED) == sentences


def test_a_sure_upper_bound_goes_by_the_lower_end():
    bound = Bound("kl", "at most", 0.1, sure=True)
    assert violations([measure("kl", 0.2, 0.05, 0.3)], [bound]) == ()
    assert violations([measure("kl", 0.2, 0.15, 0.3)], [bound]) == (
        "kl 0.2 (at least 0.15) is above 0.1",
    )


def test_objectives_by_name():
    assert all(objective(name).name == name for name in OBJECTIVES)
    with pytest.raises(UsageError, match="did you mean balanced"):
        objective("balancd")
