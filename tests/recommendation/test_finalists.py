"""Choosing among finalists: S and V together, bounds first, the smaller where it lacks little."""

from dataclasses import replace
from math import isnan, nan

import pytest
from hand_made import BALANCED, OBJECTIVES, shares, tuned
from hypothesis import given
from hypothesis import strategies as st

from locscope.locations import Location
from locscope.recommendation.finalists import (
    Finalist,
    gathered,
    gathered_value,
    ranked_finalists,
    reason_for,
    steadied,
    too_close,
)
from locscope.records import EditOutcome, Measure, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import QUICK, Objective
from locscope.selection.choice import Best

CAPABLE = OBJECTIVES["capability-first"]
TERMS = ("reliability", "generalization", "locality")
GROUPS = tuple((f"edit-{n}",) for n in range(60))


def finalist(
    location: str,
    *trials: dict[str, float],
    objective: Objective = BALANCED,
    weights: int = 10,
    counts: tuple[int, ...] = (),
) -> Finalist:
    """A finalist with a trial on S and others on V, each of so many items."""
    first, *others = (
        judged(tuned(location, objective, count=weights, **values), counts[i] if counts else 1000)
        for i, values in enumerate(trials)
    )
    # As on S and on parts of V, no two trials share an edit.
    others = [
        replace(record, trial=replace(record.trial, edits=(f"edit-{i}",)))
        for i, record in enumerate(others)
    ]
    return Finalist(Best(Location.parse(location), first, (first,)), tuple(others))


def judged(record: TrialRecord, count: int) -> TrialRecord:
    """The record with measures of so many items, and every edit's outcome at their values."""
    values = {measure.name: measure.value for measure in record.measures}
    shares = {name: values.get(name, nan) for name in TERMS}
    return replace(
        record,
        measures=tuple(replace(m, count=count if m.count else 0) for m in record.measures),
        outcomes=tuple(outcome(edit, **shares) for (edit,) in GROUPS),
    )


def outcome(edit: str, **values: float) -> EditOutcome:
    return EditOutcome(edit, reliability_strict=nan, **values)


def level(share: float, ratio: float = 1.0, **more: float) -> dict[str, float]:
    return shares(share, share, share, ratio, **more)


def order(*some: Finalist, objective: Objective = BALANCED, margin: float = 0.0) -> list[str]:
    return [str(one.location) for one in ranked_finalists(some, objective, margin, GROUPS)]


def test_measures_are_means_weighed_by_what_was_judged() -> None:
    one = finalist("L0.mlp", level(0.9), level(0.6), level(0.3), counts=(30, 20, 10))
    measure = next(m for m in one.measures if m.name == "reliability")
    assert measure.value == pytest.approx((30 * 0.9 + 20 * 0.6 + 10 * 0.3) / 60)
    assert measure.count == 60
    assert gathered_value(one, "reliability") == measure.value
    assert isnan(gathered_value(one, "forms"))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=4))
def test_gathering_equals_judging_item_by_item(rows) -> None:
    one = tuned("L0.mlp", BALANCED, **level(0.5))
    records = [
        replace(one, measures=(Measure("locality", v if n else nan, n, "p"),)) for v, n in rows
    ]
    (found,) = gathered(records)
    items = [value for value, n in rows for _ in range(n)]
    assert found.count == len(items)
    assert found.value == pytest.approx(sum(items) / len(items) if items else nan, nan_ok=True)


def test_a_collapse_in_one_trial_is_none_of_means() -> None:
    """No finite number where items were judged breaks a bound, and is not left out of the mean."""
    one = finalist("L0.mlp", level(0.9), level(0.9, float("inf")))
    assert gathered_value(one, "perplexity_ratio") == float("inf")
    whole = finalist("L1.mlp", level(0.9), level(0.9))
    (blank,) = whole.on_v
    lost = tuple(
        replace(m, value=nan) if m.name == "perplexity_ratio" else m for m in blank.measures
    )
    other = replace(whole, on_v=(replace(blank, measures=lost),))
    assert violations(one.measures, BALANCED.bounds)
    assert violations(other.measures, BALANCED.bounds)


def test_bounds_that_hold_surely_are_judged_by_intervals_of_both() -> None:
    """Retention is missed only where its whole interval is, on S and V as in a trial."""
    one = finalist("L0.mlp", level(0.9, retention=0.93), level(0.9, retention=0.94))

    def with_interval(record: TrialRecord, high: float) -> TrialRecord:
        measures = tuple(
            replace(m, low=m.value - 0.03, high=high) if m.name == "retention" else m
            for m in record.measures
        )
        return replace(record, measures=measures)

    def between(high: float) -> Finalist:
        first = with_interval(one.best.record, high)
        return Finalist(
            Best(Location.parse("L0.mlp"), first, (first,)),
            tuple(with_interval(r, high) for r in one.on_v),
        )

    assert not violations(between(0.96).measures, BALANCED.bounds)
    assert violations(between(0.945).measures, BALANCED.bounds)


def test_the_best_on_s_and_v_together_is_first() -> None:
    lucky = finalist("L0.mlp", level(0.9), level(0.6), level(0.6))
    outcome_reliability = finalist("L1.mlp", level(0.8), level(0.8), level(0.8))
    third = finalist("L2.mlp", level(0.7), level(0.6), level(0.6))
    ordered = ranked_finalists([lucky, outcome_reliability, third], BALANCED, 0.0, GROUPS)
    assert [str(one.location) for one in ordered] == ["L1.mlp", "L0.mlp", "L2.mlp"]
    assert reason_for(ordered, BALANCED, 0.0) == (
        "best of the finalists on S and V by answers and their probabilities (score 0.800 over "
        "3 trials)"
    )


def test_the_bounds_asked_for_go_first_then_the_nearest_to_them() -> None:
    objective = replace(BALANCED, bound_margin=0.4).strict
    roomless = finalist("L0.mlp", level(0.5, 1.045))
    beyond = finalist("L1.mlp", level(0.9, 1.06))
    far = finalist("L2.mlp", level(0.95, 1.3))
    blank = finalist("L3.mlp", level(nan))
    assert order(blank, far, beyond, roomless, objective=objective) == [
        "L0.mlp",
        "L1.mlp",
        "L2.mlp",
        "L3.mlp",
    ]


def test_a_bound_is_kept_on_average() -> None:
    one = finalist("L0.mlp", level(0.9, 1.03), level(0.9, 1.06))
    other = finalist("L1.mlp", level(0.7, 1.0), level(0.7, 1.0))
    assert order(other, one) == ["L0.mlp", "L1.mlp"]


def test_a_share_of_nothing_does_not_make_them_all_alike() -> None:
    bad = finalist("L0.mlp", shares(0.3, 0.0, 0.3, 1.0), counts=(20,))
    good = finalist("L1.mlp", shares(0.9, 0.0, 0.9, 1.0), counts=(20,), weights=99)
    assert order(bad, good) == ["L1.mlp", "L0.mlp"]


def test_a_smaller_one_that_lacks_little_is_chosen() -> None:
    best = finalist("L0.mlp", level(0.9), level(0.8), weights=30)
    near = finalist("L1.mlp", level(0.845), level(0.845), weights=20)
    least = finalist("L2.mlp", level(0.842), level(0.842), weights=10)
    larger = finalist("L3.mlp", level(0.849), level(0.849), weights=40)
    poor = finalist("L4.mlp", level(0.8), level(0.8), weights=1)
    some = (best, near, least, larger, poor)
    assert order(*some)[:2] == ["L0.mlp", "L3.mlp"]
    assert order(*some, margin=0.006) == ["L1.mlp", "L0.mlp", "L3.mlp", "L2.mlp", "L4.mlp"]
    ordered = ranked_finalists(some, BALANCED, 0.01, GROUPS)
    # The others stay in their order: the best is the runner-up.
    assert [str(one.location) for one in ordered] == [f"L{n}.mlp" for n in (2, 0, 3, 1, 4)]
    assert reason_for(ordered, BALANCED, 0.01) == (
        "smaller than L0.mlp, and shown on S and V to lack less than 0.01 of its score "
        "(0.842 and 0.850 over 2 trials)"
    )


def test_a_smaller_one_is_chosen_only_where_its_lack_is_shown_to_be_small() -> None:
    """Equal means over edits that come out differently leave room for a lack beyond the margin."""
    best = finalist("L0.mlp", level(0.8), weights=30)
    small = finalist("L1.mlp", level(0.8), weights=10)

    def split(one: Finalist, right: range) -> Finalist:
        outcomes = tuple(
            outcome(edit, **dict.fromkeys(TERMS, float(n in right)))
            for n, (edit,) in enumerate(GROUPS)
        )
        return replace(
            one, best=replace(one.best, record=replace(one.best.record, outcomes=outcomes))
        )

    # Both have 48 of 60 right: the same ones, or 36 the same and 12 others.
    best = split(replace(best, best=replace(best.best, record=better(best.best.record))), range(48))
    assert order(best, split(small, range(48)), margin=0.01)[0] == "L1.mlp"
    assert order(best, split(small, range(12, 60)), margin=0.01)[0] == "L0.mlp"
    assert order(best, split(small, range(12, 60)), margin=0.4)[0] == "L1.mlp"
    # Without outcomes of edits nothing is shown.
    blank = replace(small.best, record=replace(small.best.record, outcomes=()))
    assert order(best, replace(small, best=blank), margin=0.4)[0] == "L0.mlp"


def better(record: TrialRecord) -> TrialRecord:
    """A little ahead in its measures, within any margin."""
    measures = (replace(m, value=m.value + 0.001 * (m.name == "locality")) for m in record.measures)
    return replace(record, measures=tuple(measures))


def test_a_smaller_one_that_breaks_a_bound_is_not_chosen() -> None:
    best = finalist("L0.mlp", level(0.9), weights=30)
    small = finalist("L1.mlp", level(0.9, 1.051), weights=1)
    assert order(best, small, margin=0.5) == ["L0.mlp", "L1.mlp"]
    beyond = finalist("L0.mlp", level(0.9, 1.06), weights=30)
    assert order(beyond, small, margin=0.5) == ["L1.mlp", "L0.mlp"]


def test_a_smaller_one_must_not_lack_what_breaks_ties() -> None:
    def made(location: str, general: float, weights: int) -> Finalist:
        trials = [shares(0.99, general, 0.9, 1.001)] * 3
        return finalist(location, *trials, objective=CAPABLE, weights=weights)

    best, worse, near = made("L0.mlp", 0.9, 30), made("L1.mlp", 0.5, 10), made("L2.mlp", 0.895, 20)
    assert order(best, worse, near, objective=CAPABLE, margin=0.01) == [
        "L2.mlp",
        "L0.mlp",
        "L1.mlp",
    ]
    blind = made("L3.mlp", nan, 5)
    assert order(best, blind, objective=CAPABLE, margin=0.01)[0] == "L3.mlp"


def test_without_any_number_the_order_is_that_of_size_and_name() -> None:
    some = [finalist(f"L{n}.mlp", level(nan), weights=10 - n) for n in range(3)]
    assert order(*some) == ["L2.mlp", "L1.mlp", "L0.mlp"]


@given(st.permutations(range(4)), st.lists(st.sampled_from([0.0, 0.5, 0.505, 0.9]), min_size=4))
def test_the_order_given_does_not_matter(positions, values) -> None:
    some = [finalist(f"L{n}.mlp", level(values[n]), weights=9 - n) for n in range(4)]
    assert order(*some, margin=0.01) == order(*(some[i] for i in positions), margin=0.01)


def test_right_answers_and_their_probabilities_count_alike() -> None:
    likely, unlikely = (dict.fromkeys(QUICK.values(), share) for share in (0.9, 0.6))
    by_luck = finalist("L0.mlp", *3 * [level(0.80, **unlikely)])
    sure = finalist("L1.mlp", *3 * [level(0.78, **likely)])
    assert sure.worth(BALANCED) == pytest.approx((0.78 + 0.9) / 2)
    assert order(by_luck, sure) == ["L1.mlp", "L0.mlp"]


@pytest.mark.parametrize(
    ("others", "close"),
    [
        ([level(0.79), level(0.60)], ["L0.mlp", "L1.mlp"]),
        ([level(0.79), level(0.785)], ["L0.mlp", "L1.mlp", "L2.mlp"]),
        ([level(0.77), level(0.60)], []),
        # Breaks the bound that the best keeps: no more trials make it the better one.
        ([level(0.79, ratio=1.5), level(0.60)], []),
        # The best of those that keep the bound is what the others are held against.
        ([level(0.99, ratio=1.5), level(0.79)], ["L0.mlp", "L2.mlp"]),
    ],
)
def test_too_close_to_tell(others: list[dict[str, float]], close: list[str]) -> None:
    some = [finalist(f"L{n}.mlp", *3 * [one]) for n, one in enumerate([level(0.80), *others])]
    assert [str(one.location) for one in too_close(some, BALANCED)] == close


def test_the_interval_is_of_the_subsets_that_both_have() -> None:
    """A smaller finalist with more trials on V is compared on those of the larger one."""
    large = finalist("L0.mlp", *3 * [level(0.80)], weights=20)
    small = finalist("L1.mlp", *3 * [level(0.80)], level(0.1), weights=10)
    assert order(large, small, margin=0.01)[0] == "L0.mlp"  # Worse on all that it was tuned on.
    even = finalist("L1.mlp", *5 * [level(0.80)], weights=10)
    assert order(large, even, margin=0.01)[0] == "L1.mlp"


def test_shares_are_steadied_by_the_probabilities_that_were_measured() -> None:
    probabilities = {"target_probability": 0.6, "rephrase_probability": nan}
    found = tuned("L0.mlp", BALANCED, **shares(0.8, 0.5, 0.9, 1.2, **probabilities)).measures
    values = {measure.name: measure.value for measure in steadied(found)}
    # No probability stands in for the perplexity ratio, and none was measured for the others.
    assert values.pop("reliability") == pytest.approx(0.7)
    assert values == {m.name: pytest.approx(m.value, nan_ok=True) for m in found[1:]}
