"""Grids of rates: they grow while the best is an edge, and get finer where a bound cuts them."""

from collections.abc import Sequence
from math import exp, log, nan

import numpy as np
import pytest
from hand_made import BALANCED, OBJECTIVES, locations, record, shares, tuned
from hypothesis import assume, given
from hypothesis import strategies as st

from locscope.records import TrialRecord
from locscope.scoring.objectives import Objective, objective_of
from locscope.selection.candidates import STEP
from locscope.selection.choice import best_per_location, ranked
from locscope.selection.grids import (
    CEILING,
    CLOSE,
    NEAREST,
    STEEP,
    SURE,
    climbed,
    cut,
    grown,
    leading,
    learned,
    next_rates,
    on_edge,
    promise,
)

CAPABLE, PARETO = OBJECTIVES["capability-first"], OBJECTIVES["pareto"]


def test_the_grid_is_a_third_one_and_three() -> None:
    assert next_rates([record("L0.attn", 1e-3, 0.5)], BALANCED) == (pytest.approx(3.33e-4), 3e-3)


def test_the_grid_grows_while_its_best_is_on_the_edge() -> None:
    def tried(*pairs: tuple[float, float]) -> list[TrialRecord]:
        return [record("L0.attn", lr, score) for lr, score in pairs]

    def following(*records: TrialRecord) -> tuple[float, ...]:
        return next_rates(records, BALANCED)

    inside = tried((1, 0.9), (0.333, 0.1), (3, 0.2))
    upper = tried((1, 0.5), (0.333, 0.1), (3, 0.8))
    lower = tried((1, 0.5), (0.333, 0.9), (3, 0.1))
    assert following(*inside) == ()
    assert following(*upper) == (9,)
    assert following(*lower) == (0.111,)
    assert following(*upper, record("L0.attn", 9, 0.85)) == (27,)
    assert following(*upper, record("L0.attn", 9, 0.85), record("L0.attn", 27, 0.9)) == ()
    assert following(*upper, record("L0.attn", 9, 0.6)) == ()
    assert not on_edge(inside, BALANCED)
    assert on_edge(upper, BALANCED)
    assert on_edge(lower, BALANCED)


def at(lr: float, share: float, ratio: float, objective: Objective = BALANCED) -> TrialRecord:
    return tuned("L0.attn", objective, lr=lr, **shares(share, share, share, ratio))


def test_a_rate_that_breaks_a_bound_for_less_is_left_alone() -> None:
    assert next_rates([at(1, 0.5, 1.0), at(0.333, 0.4, 1.0), at(3, 0.45, 1.2)], BALANCED) == ()


def test_a_peak_between_two_rates_is_sought_before_the_bound() -> None:
    """As a place of the bundled model had it: three times its best rate scores less than that."""
    tried = [at(1, 0.76, 1.025), at(0.333, 0.02, 1.007), at(3, 0.74, 1.09)]
    share = (1.05 - 1.025) / (1.09 - 1.025)
    assert next_rates(tried, BALANCED) == (pytest.approx(3**share, rel=1e-2),)
    bent = np.polyval(np.polyfit([-1, 0, 1], [0.02, 0.76, 0.74], 2), share)
    assert cut(tried, BALANCED).value == pytest.approx(bent - SURE, abs=0.01)
    # What was hoped for was not there, so there is nothing to seek beyond it.
    assert next_rates([*tried, at(1.53, 0.78, 1.045)], BALANCED) == ()
    assert next_rates([*tried, at(1.53, 0.74, 1.045)], BALANCED) == ()


def test_where_a_bound_cuts_off_a_gain_the_grid_gets_finer() -> None:
    tried = [at(1, 0.5, 1.01), at(0.333, 0.4, 1.0), at(3, 0.9, 1.09)]
    # Half the way from 1.01 to 1.09 is the limit of 1.05, in the logarithm of the rate.
    assert next_rates(tried, BALANCED) == (pytest.approx(3**0.5, rel=1e-2),)
    assert cut(tried, BALANCED).value == pytest.approx(0.7)
    closer = [*tried, at(1.73, 0.7, 1.03)]
    assert next_rates(closer, BALANCED) == (pytest.approx(1.73 * (3 / 1.73) ** (1 / 3), rel=1e-2),)
    assert next_rates([*closer, at(2.0, 0.75, 1.06)], BALANCED) == ()
    assert next_rates([*closer, at(2.6, 0.75, 1.04)], BALANCED) == ()


def test_a_cut_is_sought_before_rates_that_learn_nothing() -> None:
    """Both lowest rates teach nothing, so neither is better, and the gain is above them."""
    low = [at(1, 0.0, 1.01), at(0.333, 0.0, 1.0)]
    assert next_rates([*low, at(3, 0.3, 1.06), at(9, 0.4, 1.2)], BALANCED) == (
        pytest.approx(3**0.75, rel=1e-2),
    )
    assert next_rates([low[0], at(3, 0.3, 1.06), at(9, 0.4, 1.2)], BALANCED)[0] > 1


def test_climbing_asks_until_no_rate_is_wanted() -> None:
    asked: list[tuple[float, ...]] = []

    def run(rates: Sequence[float]) -> list[TrialRecord]:
        asked.append(tuple(rates))
        return [at(lr, 1 / (1 + abs(lr - 9)), 1.0) for lr in rates]

    found = climbed(3.0, run, BALANCED)
    assert asked == [(3.0,), (9.0,), (27.0,)]
    assert [one.trial.recipe.lr for one in found] == [lr for rates in asked for lr in rates]
    assert ranked(found, BALANCED)[0].trial.recipe.lr == 9.0


def test_the_limit_may_lie_below_the_best_rate() -> None:
    """Retention asks for a low rate, reliability for a high one."""
    names = ("reliability", "generalization", "locality", "perplexity_ratio", "retention")

    def made(lr: float, reliability: float, retention: float) -> TrialRecord:
        values = (reliability, 0.5, 0.5, 1.0, retention)
        return tuned("L0.attn", CAPABLE, lr=lr, **dict(zip(names, values, strict=True)))

    tried = [made(1, 0.98, 0.8), made(0.333, 0.93, 0.9), made(3, 1.0, 0.5)]
    step = (0.98 - 0.95) / (0.98 - 0.93)
    assert next_rates(tried, CAPABLE) == (pytest.approx(1 / 3**step, rel=1e-2),)


@given(st.floats(0.1, 10), st.floats(0.2, 5), st.floats(1, 4))
def test_a_cut_is_found_in_few_trials_and_close(limit: float, steepness: float, power: float):
    """A location that gains with the rate, and breaks the bound above `limit`."""

    def shown(lr: float) -> TrialRecord:
        ratio = 1 + 0.05 * (lr / limit) ** power
        return at(lr, 0.2 * lr**steepness / (1 + 0.2 * lr**steepness), ratio)

    tried = [shown(1.0)]
    while wanted := next_rates(tried, BALANCED):
        tried += [shown(lr) for lr in wanted]
        assert len(tried) < 12
    assume(any(not one.violated and learned(one) for one in tried))
    kept = max((one for one in tried if not one.violated), key=lambda one: one.trial.recipe.lr)
    broken = [one.trial.recipe.lr for one in tried if one.violated]
    assert kept.trial.recipe.lr <= limit * (1 + 1e-6)
    if broken:
        assert min(broken) / kept.trial.recipe.lr <= CLOSE


def test_locations_lead_by_what_they_score_where_a_bound_cuts_them_off() -> None:
    def made(location: str, *three: tuple[float, float, float]) -> list[TrialRecord]:
        return [tuned(location, BALANCED, lr=lr, **shares(s, s, s, r)) for lr, s, r in three]

    safe = made("L0.mlp", (0.333, 0.1, 1.0), (1, 0.5, 1.0), (3, 0.4, 1.0))
    cut_off = made("L1.mlp", (0.333, 0.1, 1.0), (1, 0.4, 1.0), (3, 0.9, 1.1))
    beyond = made("L2.mlp", (1, 0.7, 1.5))
    blank = [record("L3.mlp", 1.0, nan)]
    order = [str(best.location) for best in leading([*beyond, *blank, *safe, *cut_off], BALANCED)]
    assert order == ["L1.mlp", "L0.mlp", "L2.mlp", "L3.mlp"]
    assert str(best_per_location([*safe, *cut_off], BALANCED)[0].location) == "L0.mlp"


def test_a_cut_below_what_was_reached_is_no_promise() -> None:
    def made(location: str, *three: tuple[float, float, float]) -> list[TrialRecord]:
        return [tuned(location, BALANCED, lr=lr, **shares(s, s, s, r)) for lr, s, r in three]

    reached = made("L0.mlp", (1, 0.2, 1.02), (0.333, 0.6, 1.0), (3, 0.7, 2.0))
    plain = made("L1.mlp", (1, 0.5, 1.0), (0.333, 0.4, 1.0), (3, 0.3, 1.0))
    assert cut(reached, BALANCED) is None
    assert next_rates(reached, BALANCED) == (pytest.approx(0.111, rel=1e-2),)
    order = [str(best.location) for best in leading([*plain, *reached], BALANCED)]
    assert order == ["L0.mlp", "L1.mlp"]


def test_a_gain_that_an_objective_does_not_count_is_none() -> None:
    """Capability first has coarse scores: 0.2 % of retention is no reason for more trials."""

    def made(lr: float, reliability: float, retention: float) -> TrialRecord:
        values = shares(reliability, 0.5, 0.5, 1.0, retention=retention)
        return tuned("L0.attn", CAPABLE, lr=lr, **values)

    tried = [made(1, 0.99, 0.997), made(0.333, 0.90, 0.999), made(3, 1.0, 0.980)]
    assert cut(tried, CAPABLE) is None
    assert next_rates(tried, CAPABLE) == ()


def one_rate(
    location: str, share: float, ratio: float, objective: Objective = BALANCED
) -> TrialRecord:
    return tuned(location, objective, lr=1.0, **shares(share, share, share, ratio))


def test_locations_go_by_what_they_would_score_within_the_bounds() -> None:
    """0.9 far beyond the limit promises less than 0.5 within it, a little beyond it more."""
    kept = [one_rate("L0.mlp", 0.5, 1.05), one_rate("L1.mlp", 0.3, 1.05)]
    broken = [one_rate("L2.mlp", 0.9, 1.8), one_rate("L3.mlp", 0.6, 1.06)]
    blank = [one_rate("L4.mlp", nan, 1.0)]
    found = leading([*blank, *broken, *kept], BALANCED)
    assert [str(best.location) for best in found] == [
        "L3.mlp",
        "L0.mlp",
        "L1.mlp",
        "L2.mlp",
        "L4.mlp",
    ]
    at_the_limit = 0.8 / (1 + (0.8 / 0.6 - 1) / (log(1.05) / log(1.06)) ** STEEP)
    assert promise(found[0], BALANCED) == pytest.approx(at_the_limit)
    assert promise(found[1], BALANCED) == pytest.approx(0.5)
    (far,) = leading([one_rate("L0.mlp", 0.5, 1.01)], BALANCED)
    assert promise(far, BALANCED) == pytest.approx(grown(0.5, STEP))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 9), st.floats(0, 9))
def test_more_lost_is_more_learned_up_to_the_ceiling(a: float, b: float, x: float, y: float):
    assert grown(min(a, b), x) <= grown(max(a, b), x) + 1e-9
    assert grown(a, min(x, y)) <= grown(a, max(x, y)) + 1e-9
    assert grown(a, x) <= max(CEILING, (1 + a) / 2)
    assert grown(a, 1) == pytest.approx(a)


def test_what_no_lower_rate_would_mend_goes_last() -> None:
    def made(location: str, reliability: float) -> TrialRecord:
        values = shares(reliability, 0.5, 0.5, 1.0 + reliability / 10)
        return tuned(location, CAPABLE, **values)

    idle, near, able = made("L0.mlp", 0.0), made("L1.mlp", 0.9), made("L2.mlp", 1.0)
    assert idle.score > near.score > able.score
    found = leading([idle, near, able], CAPABLE)
    assert [str(best.location) for best in found] == ["L2.mlp", "L1.mlp", "L0.mlp"]


def test_the_next_rate_is_where_the_limit_would_be_met() -> None:
    """If drift in nats grows as the rate does; in steps of a quarter to three times."""
    nats = log(1.05)
    for drift, factor in ((0.5, 2), (0.1, 3), (0.85, NEAREST), (2, 1 / 2), (9, 1 / 3), (1.05, 0.8)):
        only = [at(1, 0.5, exp(drift * nats))]
        assert next_rates(only, BALANCED) == (pytest.approx(factor, rel=1e-2),)
    # As near to the limit as this a higher rate has nothing to gain, but the peak may lie below.
    full = at(1, 0.5, exp(0.95 * nats))
    assert next_rates([full], BALANCED) == (pytest.approx(1 / 3, rel=1e-2),)
    assert next_rates([full, at(0.333, 0.4, 1.01)], BALANCED) == ()
    assert not on_edge([full, at(0.333, 0.4, 1.01)], BALANCED)


@pytest.mark.parametrize("ratio", [1.052, 1.0418])
def test_steps_to_one_side_get_longer(ratio: float) -> None:
    """Where the ratio hardly moves: just beyond the limit, or with a fifth of it free."""
    tried = [at(1, 0.5, ratio)]
    for _ in range(20):
        if not (wanted := next_rates(tried, BALANCED)):
            break
        # The higher the ratio is, the better is the lower rate, and the other way round.
        tried += [at(lr, 0.5 + 0.01 * lr ** (1 if ratio < 1.05 else -1), ratio) for lr in wanted]
    assert len(tried) < 8


def test_where_nothing_is_learned_higher_rates_are_tried() -> None:
    low = at(1, 0.0, 1.0)
    assert next_rates([low], BALANCED) == (3,)
    assert next_rates([low, at(3, 0.0, 1.01)], BALANCED) == (9,)


def test_where_nothing_is_learned_lower_rates_are_not_tried() -> None:
    """Lower rates teach less, also where the least that was tried is best or breaks a bound."""
    for reliability, lower in ((0.04, False), (0.06, True)):
        one = at(1, reliability, 1.06)
        assert learned(one) == lower
        assert any(rate < 1 for rate in next_rates([one], BALANCED)) == lower
    # The best of what learned nothing is a low rate, and one goes on from the highest.
    tried = [at(1, 0.03, 1.0), at(3, 0.02, 1.001)]
    assert ranked(tried, BALANCED)[0].trial.recipe.lr == 1
    assert next_rates(tried, BALANCED) == (9,)


def test_a_rate_without_a_score_is_no_gain() -> None:
    found = next_rates([at(1, 0.4, 1.04), record("L0.attn", 3, nan)], BALANCED)
    assert found == (pytest.approx(1 / 3, rel=1e-2),)


def test_a_higher_rate_may_mend_what_is_not_reliable_yet() -> None:
    asked = objective_of("balanced", bounds=["reliability>=0.9"])
    near = tuned("L0.mlp", asked, **shares(0.89, 0.85, 0.95, 1.005))
    kept = tuned("L1.mlp", asked, **shares(0.92, 0.1, 0.3, 1.005))
    idle = tuned("L2.mlp", asked, **shares(0.0, 0.0, 1.0, 1.0))
    found = leading([idle, kept, near], asked)
    assert [str(best.location) for best in found] == ["L0.mlp", "L1.mlp", "L2.mlp"]
    assert next_rates([near], asked) == (3,)


def test_no_lower_rate_is_tried_where_the_score_still_rises() -> None:
    low = at(1, 0.5, 1.04)
    assert next_rates([low, at(1.19, 0.6, 1.08)], BALANCED) == ()
    assert next_rates([low, at(1.19, 0.4, 1.08)], BALANCED) == (pytest.approx(1 / 3, rel=1e-2),)


def test_grids_grow_by_score_also_where_the_knee_is_sought() -> None:
    steps = ((1, 0.8, 1.01), (0.333, 0.3, 1.001), (3, 0.95, 1.02))
    tried = [tuned("L0.attn", PARETO, lr=lr, **shares(s, s, s, ratio)) for lr, s, ratio in steps]
    assert locations(ranked(tried, PARETO)[:1]) == ["L0.attn"]
    assert on_edge(tried, PARETO)
    assert next_rates(tried, PARETO) == (9,)
