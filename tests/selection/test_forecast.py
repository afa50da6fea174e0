"""What a quick evaluation says of a full run: growth of drift, and the chance to keep the bound."""

from dataclasses import replace
from math import exp, inf, isnan, log, nan

import numpy as np
import pytest
from hand_made import BALANCED
from hypothesis import given
from hypothesis import strategies as st
from made_up import EDITS, EPOCHS, World

from locscope.locations import Location
from locscope.records import Measure, TrialRecord
from locscope.scoring.bounds import Bound
from locscope.selection.forecast import SPREAD, chance_kept, forecasts, growth
from locscope.selection.space import Fidelity, Space, TrialRequest

WORLD = World(noise=0.0)
RUNG_1 = Fidelity("rung 1", 10, 5, quick=True)
LIMIT = log(1.05)
"""Nats at which the bound on the perplexity ratio is met."""


def seen(space: Space, location: str, fidelity: Fidelity, **values: float) -> TrialRecord:
    record = WORLD.record(TrialRequest(Location.parse(location), space.of(location).lr, fidelity))
    measures = tuple(Measure(name, value, 5, "p") for name, value in values.items())
    return replace(record, measures=measures)


def test_before_anything_was_run_in_full_drift_grows_as_edits_times_epochs() -> None:
    space = WORLD.space()
    quick_trials = [seen(space, "L1.mlp", RUNG_1, kl=0.01)]
    assert growth(space, quick_trials, []) == pytest.approx(EDITS * EPOCHS / 50)
    assert growth(space, [], []) == 1.0


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=6))
def test_growth_is_the_median_over_what_was_run_both_ways_and_the_rule(drifts: list[float]) -> None:
    space = WORLD.space()
    locations = [f"L{i}.mlp" for i in range(len(drifts))]
    quick_trials = [
        seen(space, location, RUNG_1, kl=0.001 * (i + 1)) for i, location in enumerate(locations)
    ]
    full = [
        seen(space, location, space.full, perplexity_ratio=exp(drift))
        for location, drift in zip(locations, drifts, strict=True)
    ]
    ratios = [max(drift / (0.001 * (i + 1)), 1.0) for i, drift in enumerate(drifts)]
    expected = exp(float(np.median(np.log([*ratios, EDITS * EPOCHS / 50]))))
    assert growth(space, quick_trials, full) == pytest.approx(expected, rel=1e-6)


def test_growth_leaves_out_what_was_not_measured_or_did_not_drift() -> None:
    space = WORLD.space()
    quick_trials = [
        seen(space, "L1.mlp", RUNG_1, kl=0.0),
        seen(space, "L2.mlp", RUNG_1, kl=nan),
        seen(space, "L3.mlp", RUNG_1, kl=0.01),
    ]
    full = [
        seen(space, "L1.mlp", space.full, perplexity_ratio=1.2),
        seen(space, "L2.mlp", space.full, perplexity_ratio=1.2),
        seen(space, "L3.mlp", space.full, perplexity_ratio=nan),
        seen(space, "L4.mlp", space.full, perplexity_ratio=1.2),
    ]
    assert growth(space, quick_trials, full) == growth(space, quick_trials, [])
    # A full run that drifted less than nothing still counts, as one that drifted like the quick
    # evaluation.
    better = [seen(space, "L3.mlp", space.full, perplexity_ratio=0.9)]
    rule = EDITS * EPOCHS / 50
    assert growth(space, quick_trials, better) == pytest.approx(rule**0.5)


def test_a_quick_whose_weights_blew_up_comes_last_and_tells_nothing_of_growth() -> None:
    space = WORLD.space()
    quick_trials = [seen(space, "L1.mlp", RUNG_1, kl=nan), seen(space, "L2.mlp", RUNG_1, kl=0.001)]
    full = [seen(space, "L1.mlp", space.full, perplexity_ratio=9.0)]
    assert [str(one.location) for one in forecasts(space, quick_trials, full)] == [
        "L2.mlp",
        "L1.mlp",
    ]
    assert forecasts(space, quick_trials, full)[-1].value == pytest.approx(0.0)
    assert growth(space, quick_trials, full) == growth(space, quick_trials, [])


def test_a_collapse_without_end_leaves_locations_apart() -> None:
    space = WORLD.space()
    quick_trials = [seen(space, f"L{i}.mlp", RUNG_1, kl=0.01 / 10**i) for i in range(6)]
    full = [seen(space, f"L{i}.mlp", space.full, perplexity_ratio=float("inf")) for i in range(3)]
    line = forecasts(space, quick_trials, [*quick_trials, *full])
    assert growth(space, quick_trials, full) < float("inf")
    assert {str(one.location) for one in line[:2]} == {"L4.mlp", "L5.mlp"}
    assert str(line[-1].location) == "L0.mlp"


def test_the_chance_to_keep_the_bound_is_even_at_it_and_falls_with_drift() -> None:
    assert chance_kept(BALANCED, LIMIT) == pytest.approx(0.5)
    assert chance_kept(BALANCED, LIMIT * exp(SPREAD)) == pytest.approx(1 / (1 + exp(1)))
    chances = [chance_kept(BALANCED, LIMIT * factor) for factor in (0, 0.1, 0.5, 1, 2, 10, 1e300)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(1.0)
    assert chances[-1] == pytest.approx(0.0)
    assert chance_kept(BALANCED, float("inf")) == pytest.approx(0.0)


def test_without_a_bound_or_a_drift_nothing_speaks_against_a_location() -> None:
    assert chance_kept(replace(BALANCED, bounds=()), 100.0) == 1.0
    assert chance_kept(BALANCED, nan) == 1.0
    dropped = replace(BALANCED, bounds=(Bound("perplexity_ratio", "at most", inf),))
    assert chance_kept(dropped, inf) == 1.0
    strict = replace(BALANCED, bounds=(Bound("perplexity_ratio", "at most", 1.0),))
    assert chance_kept(strict, 1e-6) == 0.0
    assert chance_kept(strict, 0.0) == 1.0


def test_forecasts_go_best_first_and_what_has_no_score_last() -> None:
    space = WORLD.space()
    quick_trials = [
        replace(seen(space, "L1.mlp", RUNG_1, kl=1e-6), score=0.5),
        replace(seen(space, "L2.mlp", RUNG_1, kl=1.0), score=0.9),
        replace(seen(space, "L3.mlp", RUNG_1, kl=1e-6), score=nan),
        replace(seen(space, "L4.mlp", RUNG_1, kl=1e-6), score=0.7),
    ]
    line = forecasts(space, quick_trials, quick_trials)
    assert [str(one.location) for one in line[:2]] == ["L4.mlp", "L1.mlp"]
    assert {str(one.location) for one in line[2:]} == {"L2.mlp", "L3.mlp"}
    assert not any(isnan(one.value) for one in line)
    assert forecasts(space, quick_trials[::-1], quick_trials) == line
