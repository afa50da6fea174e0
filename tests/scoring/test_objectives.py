"""Scores against slow arithmetic, and what an objective refuses."""

from dataclasses import replace
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from locscope.errors import UsageError
from locscope.evaluation.measures import QUICK_MEASURES
from locscope.records import Measure
from locscope.scoring.bounds import RATIO, Bound, bound_of
from locscope.scoring.objectives import (
    BALANCED,
    EFFICACY,
    OBJECTIVES,
    QUICK,
    Objective,
    collapse,
    efficacy,
    harmonic,
    kept,
    merit,
    objective_of,
    quick_objective,
    quick_score,
    refuse_unmeasurable,
    score,
    score_name,
)

SHARES = st.floats(0.01, 1)
CAPABLE, PARETO = OBJECTIVES["capability-first"], OBJECTIVES["pareto"]


def measure(name: str, value: float, count: int = 10):
    return Measure(name, value, count, "test")


def measures(**values: float):
    return [measure(name, value) for name, value in values.items()]


def seen(reliability=0.8, generalization=0.5, locality=1.0, ratio=1.25, **more):
    return measures(
        reliability=reliability,
        generalization=generalization,
        locality=locality,
        perplexity_ratio=ratio,
        **more,
    )


@given(st.lists(SHARES, min_size=1, max_size=5))
def test_harmonic_equals_scipy(values):
    assert harmonic(values) == pytest.approx(stats.hmean(values))


@given(st.lists(st.tuples(SHARES, st.floats(0.1, 10)), min_size=1, max_size=5))
def test_weighted_harmonic_equals_scipy(pairs):
    values, weights = zip(*pairs, strict=True)
    assert harmonic(values, weights) == pytest.approx(stats.hmean(values, weights=weights))


@given(SHARES, SHARES, st.integers(1, 5))
def test_a_weight_is_as_often_as_it_counts(one, other, times):
    assert harmonic([one, other], [times, 1]) == pytest.approx(harmonic([one] * times + [other]))


def test_harmonic_at_the_ends():
    assert harmonic([1.0, 0.0]) == 0
    assert isnan(harmonic([]))
    assert isnan(harmonic([1.0, nan]))


def test_the_score_is_named_for_what_it_holds():
    full = measures(reliability=1.0, generalization=0.5, locality=1.0)
    assert (score(full), score_name(full)) == (
        0.75,
        "harmonic(reliability, generalization, locality)",
    )
    without = [full[2], measure("generalization", nan, count=0), full[0]]
    assert (score(without), score_name(without)) == (1.0, "harmonic(reliability, locality)")
    assert score_name(full[:1]) == "harmonic(reliability)"
    for objective in OBJECTIVES.values():
        assert isnan(score([], objective))
        assert score_name([], objective) == "nothing measured"


def test_own_weights_are_in_value_and_name():
    objective = objective_of("balanced", {"locality": 2})
    found = seen(1.0, 1.0, 0.5)
    assert score_name(found, objective) == "harmonic(reliability, generalization, locality x 2)"
    assert score(found, objective) == pytest.approx(4 / 6)


def test_capability_first_scores_what_is_kept():
    found = seen(ratio=1.25, retention=0.9)
    assert (score(found, CAPABLE), score_name(found, CAPABLE)) == (0.9, "harmonic(retention)")
    assert score(seen(ratio=1.25), CAPABLE) == 0.8
    assert score_name(seen(ratio=1.25), CAPABLE) == "harmonic(1/perplexity_ratio)"
    unasked = [*seen(ratio=1.25), measure("retention", nan, count=0)]
    assert score(unasked, CAPABLE) == 0.8


def test_pareto_scores_efficacy_and_what_is_kept():
    found, terms = seen(1.0, 1.0, 1.0, 2.0), "reliability, generalization, locality"
    assert score_name(found, PARETO) == f"harmonic({terms}, 1/perplexity_ratio)"
    assert score(found, PARETO) == pytest.approx(4 / 5)
    lost = [m for m in seen() if m.name != "perplexity_ratio"]
    assert isnan(score(lost, PARETO))
    assert isnan(score(measures(perplexity_ratio=1.0), PARETO))


@pytest.mark.parametrize(
    ("name", "value", "count", "share"),
    [
        ("perplexity_ratio", 1.25, 9, 0.8),
        ("perplexity_ratio", 0.9, 9, 1.0),
        ("perplexity_ratio", inf, 9, 0.0),
        ("perplexity_ratio", nan, 9, 0.0),
        ("perplexity_ratio", nan, 0, nan),
        ("retention", 0.4, 9, 0.4),
        ("retention", 1.2, 9, 1.0),
        ("retention", -0.3, 9, 0.0),
    ],
)
def test_what_is_kept_is_a_share(name, value, count, share):
    found = [measure(name, value, count)]
    assert kept(found, name) == pytest.approx(share, nan_ok=True)
    if name == "perplexity_ratio":
        assert collapse(found) == pytest.approx(1 - share, nan_ok=True)


def test_efficacy_takes_what_was_measured_and_probabilities_after_a_quick():
    assert efficacy(seen(1.0, 0.5, 1.0)) == 0.75
    assert efficacy(seen(1.0, 0.5, 1.0), CAPABLE) == 0.75
    assert efficacy(measures(reliability=0.5)) == 0.5
    quick = measures(target_probability=1.0, rephrase_probability=0.5, neighbour_kept=1.0)
    assert efficacy(quick) == 0.75
    assert isnan(efficacy([]))


QUICK_TRIALS = st.tuples(SHARES, SHARES, SHARES, st.floats(1, 20))


def quick(target, rephrase, neighbour, ratio):
    return measures(
        target_probability=target,
        rephrase_probability=rephrase,
        neighbour_kept=neighbour,
        perplexity_ratio=ratio,
        kl=ratio - 1,
    )


@given(QUICK_TRIALS)
def test_quick_trials_by_hand(values):
    target, rephrase, neighbour, ratio = values
    found = quick(*values)
    assert quick_score(found) == pytest.approx(stats.hmean([target, rephrase, neighbour]))
    both = stats.hmean([target, 1 / ratio])
    assert quick_score(found, CAPABLE) == pytest.approx(both)
    four = stats.hmean([target, rephrase, neighbour, 1 / ratio])
    assert quick_score(found, PARETO) == pytest.approx(four)


@given(QUICK_TRIALS, QUICK_TRIALS, st.sampled_from(sorted(OBJECTIVES)))
def test_a_quick_never_prefers_what_is_worse_in_all(one, other, name):
    best = [max(a, b) for a, b in zip(one[:3], other[:3], strict=True)]
    better = quick(*best, min(one[3], other[3]))
    objective = OBJECTIVES[name]
    assert quick_score(better, objective) >= quick_score(quick(*one), objective) - 1e-12


def test_a_quick_keeps_weights_and_stands_in_for_every_term():
    objective = objective_of("balanced", {"reliability": 3})
    found = quick(0.5, 1.0, 1.0, 1.0)
    assert quick_score(found, objective) == pytest.approx(5 / 8)
    assert score_name(found, quick_objective(objective)).startswith(
        "harmonic(target_probability x 3, "
    )
    assert tuple(QUICK[name] for name in EFFICACY) == QUICK_MEASURES


def test_objectives_by_name():
    assert all(objective_of(name) == entry for name, entry in OBJECTIVES.items())
    assert all(name == entry.name for name, entry in OBJECTIVES.items())
    with pytest.raises(UsageError, match="did you mean balanced"):
        objective_of("balancd")


def test_own_bounds_replace_those_on_the_same_measure():
    objective = objective_of("balanced", bounds=["retention>=0.9", "kl<=0.1"])
    assert [str(b) for b in objective.bounds] == [
        f"perplexity_ratio<={RATIO}",
        "retention>=0.9",
        "kl<=0.1",
    ]
    assert [b.needed for b in objective.bounds] == [False, True, True]
    again = objective_of(objective.name, {}, list(map(str, objective.bounds)))
    assert list(map(str, again.bounds)) == list(map(str, objective.bounds))


@pytest.mark.parametrize(
    ("name", "weights", "bounds", "words"),
    [
        ("balanced", {"localty": 2}, (), "unknown term of objective balanced 'localty'"),
        ("balanced", {"kl": 2}, (), "there are: generalization, locality, reliability"),
        ("balanced", {"locality": 0}, (), "weight 0 of locality: it must be a number above 0"),
        ("balanced", {"locality": -1}, (), "above 0"),
        ("balanced", {"locality": inf}, (), "above 0"),
        ("balanced", {"locality": nan}, (), "above 0"),
        ("capability-first", {"locality": 2}, (), "capability-first has no weights"),
        ("pareto", {}, ("kl=1",), "cannot read bound 'kl=1'"),
        ("pareto", {}, ("k<=1",), "unknown measure 'k'"),
    ],
)
def test_bad_weights_and_bounds_are_refused(name, weights, bounds, words):
    with pytest.raises(UsageError) as refused:
        objective_of(name, weights, bounds)
    assert words in str(refused.value)


ALWAYS = {"reliability", "reliability_strict", "locality", "perplexity_ratio", "kl"}


def test_default_bounds_that_cannot_be_measured_are_left_out():
    for objective in OBJECTIVES.values():
        refuse_unmeasurable(objective, ALWAYS)


@pytest.mark.parametrize(
    ("objective", "can", "words"),
    [
        (objective_of("balanced", {}, ["retention>=0.9"]), ALWAYS, "--abilities"),
        (objective_of("pareto", {}, ["multihop>=0.5"]), ALWAYS, "edits with multi-hop questions"),
        (objective_of("balanced", {}, ["kl<=1"]), {"reliability"}, "bound 'kl<=1'"),
        (CAPABLE, {"perplexity_ratio"}, "bound 'reliability>=0.95'"),
        (CAPABLE, {"reliability"}, "goes by retention or perplexity_ratio"),
        (PARETO, {"reliability"}, "goes by perplexity_ratio"),
        (BALANCED, {"kl"}, "goes by reliability or generalization or locality"),
    ],
)
def test_what_is_needed_and_cannot_be_measured_is_refused(objective, can, words):
    with pytest.raises(UsageError) as refused:
        refuse_unmeasurable(objective, can)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("bound", "strict"),
    [
        ("perplexity_ratio<=1.21", "perplexity_ratio<=1.1"),
        ("mean_perplexity_ratio<=1.21 surely", "mean_perplexity_ratio<=1.1 surely"),
        ("kl<=0.2", "kl<=0.1"),
        ("perplexity_ratio<=inf", "perplexity_ratio<=inf"),
        ("perplexity_ratio<=0.9", "perplexity_ratio<=0.9"),
        ("retention>=0.9", "retention>=0.9"),
        ("locality>=0.5", "locality>=0.5"),
    ],
)
def test_a_choice_leaves_bound_margin_below_bounds_on_drift(bound, strict):
    objective = replace(objective_of("pareto", {}, [bound]), bound_margin=0.5)
    own = next(one for one in objective.strict.bounds if one.measure == bound_of(bound).measure)
    assert str(own) == strict
    assert own.needed
    assert objective.strict.strict == objective.strict
    assert replace(objective, bound_margin=0.0).strict.bounds == objective.bounds


def test_a_new_objective_is_an_entry():
    objective = Objective("safe", "", EFFICACY, (Bound("kl", "at most", 0.1),), kept=("retention",))
    assert score(seen(1.0, 1.0, 1.0, retention=0.5), objective) == pytest.approx(4 / 5)


def _shares(*values: float, count: int = 20) -> tuple[Measure, ...]:
    names = ("reliability", "generalization", "locality")
    return tuple(Measure(n, v, count, "p") for n, v in zip(names, values, strict=True))


def test_merit_is_the_score_with_half_an_item_for_none() -> None:
    assert merit(_shares(0.9, 0.5, 0.7)) == score(_shares(0.9, 0.5, 0.7))
    assert score(_shares(0.9, 0.0, 0.9)) == 0
    assert merit(_shares(0.9, 0.0, 0.9)) == pytest.approx(3 / (1 / 0.9 + 40 + 1 / 0.9))
    assert merit(_shares(0.9, 0.0, 0.9)) > merit(_shares(0.5, 0.0, 0.5)) > 0
    # One of twenty is more than none of twenty.
    assert merit(_shares(0.1, 0.05, 0.1)) > merit(_shares(0.1, 0.0, 0.1))
    assert merit(_shares(0.9, 0.0, 0.9, count=200)) < merit(_shares(0.9, 0.0, 0.9))


def test_merit_leaves_out_what_was_not_measured_and_keeps_what_collapsed() -> None:
    blank = (*_shares(0.5, 0.5, 0.5)[:2], Measure("locality", nan, 0, "p"))
    assert merit(blank) == pytest.approx(0.5)
    assert isnan(merit((Measure("reliability", nan, 0, "p"),)))
    lost = (*_shares(1.0, 1.0, 1.0), Measure("perplexity_ratio", nan, 4, "p"))
    assert merit(lost, OBJECTIVES["pareto"]) == 0


@given(st.lists(st.integers(0, 20), min_size=3, max_size=3), st.integers(0, 2))
def test_more_of_a_share_is_never_less_merit(counts, which) -> None:
    more = [min(20, count + (i == which)) for i, count in enumerate(counts)]
    one, other = (merit(_shares(*(c / 20 for c in some))) for some in (counts, more))
    assert other >= one > 0
