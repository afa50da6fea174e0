"""Bounds that leave nothing useful: what looser ones would give, and which is gone on within."""

from dataclasses import replace

import pytest
from hand_made import BALANCED, OBJECTIVES, shares, tuned

from locscope.recommendation.looser_bounds import LIMITS, at_count, cost_of_bound, judged, relaxed
from locscope.scoring.bounds import Bound

TIMID = tuned("L1.mlp", BALANCED, lr=0.1, **shares(0.17, 0.05, 0.9, 1.02))
USEFUL = tuned("L2.mlp", BALANCED, **shares(0.96, 0.4, 0.3, 1.07))
BOLD = tuned("L3.mlp", BALANCED, lr=3.0, **shares(1.0, 0.41, 0.3, 1.24))


def test_a_useful_choice_within_the_bounds_relaxes_nothing() -> None:
    good = tuned("L4.mlp", BALANCED, **shares(0.9, 0.5, 0.6, 1.01))
    assert relaxed([TIMID, USEFUL, BOLD, good], BALANCED) is None


def test_the_knee_of_what_looser_bounds_give_is_used_and_all_are_shown() -> None:
    found = relaxed([TIMID, USEFUL, BOLD], BALANCED)
    assert found is not None
    assert found.bound == "perplexity_ratio<=1.08"
    by_limit = {point.limit: point for point in found.points}
    assert set(by_limit) == set(LIMITS)
    assert str(by_limit[1.05].location) == "L1.mlp"
    assert str(by_limit[1.08].location) == str(by_limit[1.18].location) == "L2.mlp"
    assert str(by_limit[1.25].location) == "L3.mlp"
    assert by_limit[1.08].reliability == 0.96
    limits = {bound.measure: bound.limit for bound in found.objective.bounds}
    assert limits["perplexity_ratio"] == 1.08
    assert limits["retention"] == 0.95, "other bounds stay"


def test_bound_margin_goes_before_the_bound_does() -> None:
    """What is useful within the bound, though beyond what a choice leaves free, needs no other."""
    near = tuned("L2.mlp", BALANCED, **shares(0.95, 0.5, 0.5, 1.035))
    found = relaxed([TIMID, near], replace(BALANCED, bound_margin=0.4))
    assert found is not None
    assert (found.bound, found.points, found.objective.bound_margin) == ("", (), 0.0)
    assert found.objective.bounds == BALANCED.bounds
    loosened = relaxed([TIMID, USEFUL], replace(BALANCED, bound_margin=0.4))
    assert loosened is not None
    assert loosened.objective.bound_margin == 0.0, "it is where trials were seen to be"


def test_what_a_bound_costs_is_shown_where_much_is_left_unlearned() -> None:
    some = tuned("L2.mlp", BALANCED, **shares(0.7, 0.2, 0.3, 1.04))
    points = cost_of_bound([TIMID, some, BOLD], BALANCED)
    by_limit = {point.limit: point.reliability for point in points}
    assert (by_limit[1.05], by_limit[1.25]) == (0.7, 1.0)
    assert cost_of_bound([TIMID, some], BALANCED) == (), "nothing learned more"
    most = tuned("L2.mlp", BALANCED, **shares(0.95, 0.3, 0.5, 1.04))
    assert cost_of_bound([most, BOLD], BALANCED) == (), "there is little to gain"
    free = replace(BALANCED, bounds=())
    assert cost_of_bound([some, BOLD], free) == (), "there is no bound"


def test_nothing_is_relaxed_where_looser_bounds_teach_no_more_or_there_is_none() -> None:
    assert relaxed([TIMID], BALANCED) is None
    assert relaxed([TIMID, USEFUL], OBJECTIVES["pareto"]) is None
    free = replace(BALANCED, bounds=(Bound("perplexity_ratio", "at most", float("inf")),))
    assert relaxed([USEFUL], free) is None
    assert relaxed([], BALANCED) is None


def test_the_bound_is_asked_for_again_at_the_count_that_is_deployed() -> None:
    """What is lost grows with the edits: what teaches something on S may be out of reach there."""
    on_s = relaxed([TIMID, USEFUL, BOLD], BALANCED)
    assert on_s is not None
    found = at_count([TIMID, BOLD], BALANCED, on_s)
    assert found is not None
    assert (on_s.bound, found.bound) == ("perplexity_ratio<=1.08", "perplexity_ratio<=1.25")
    good = tuned("L4.mlp", BALANCED, **shares(0.9, 0.5, 0.6, 1.01))
    assert at_count([TIMID, good, BOLD], BALANCED, on_s) is None, "the one asked for will do"
    assert at_count([TIMID], BALANCED, on_s) is on_s, "no other is known to teach more"
    assert at_count([TIMID], BALANCED, None) is None


@pytest.mark.parametrize(("choosing", "broken"), [(True, False), (False, True)])
def test_trials_that_choose_are_judged_by_the_looser_bound(choosing: bool, broken: bool) -> None:
    found = relaxed([TIMID, USEFUL, BOLD], BALANCED)
    assert found is not None
    record = replace(USEFUL, trial=replace(USEFUL.trial, choosing=choosing))
    assert bool(judged(record, found.objective).violated) is broken
