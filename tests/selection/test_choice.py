"""Ranking, rate grids and finalists, by hand-made records."""

from math import nan

import pytest

from locscope.records import Recipe, Trial, TrialRecord
from locscope.selection.choice import best_per_location, next_rates, on_edge, rank_key


def record(
    location: str, lr: float, score: float, *, violated: tuple[str, ...] = (), count: int = 10
) -> TrialRecord:
    trial = Trial(location, Recipe(lr, 8), ("a",), "S", "sweep", 0, "m", "e")
    return TrialRecord(trial, "done", score, "s", (), (), (), (), count, 0.0, 0, 0.0, 0.0, violated)


def test_kept_bounds_go_before_score_and_small_before_large() -> None:
    ordered = [
        record("L0.mlp", 1, 0.9),
        record("L1.mlp", 1, 0.5, count=5),
        record("L2.mlp", 1, 0.5),
        record("L3.mlp", 1, 0.99, violated=("perplexity",)),
        record("L4.mlp", 1, nan),
    ]
    shuffled = [ordered[i] for i in (3, 0, 4, 2, 1)]
    assert sorted(shuffled, key=rank_key) == ordered


def test_a_location_is_compared_at_its_own_best_rate() -> None:
    records = [record("A", 1, 0.2), record("A", 3, 0.8), record("B", 1, 0.5)]
    first, second = best_per_location(records)
    assert (first.location, first.record.trial.recipe.lr) == ("A", 3)
    assert second.location == "B"
    assert len(first.tried) == 2


def test_the_grid_is_a_third_one_and_three() -> None:
    assert next_rates([record("A", 1e-3, 0.5)]) == (pytest.approx(3.33e-4), 3e-3)


def test_the_grid_grows_while_its_best_is_on_the_edge() -> None:
    def tried(*pairs: tuple[float, float]) -> list[TrialRecord]:
        return [record("A", lr, score) for lr, score in pairs]

    inside = tried((1, 0.9), (0.333, 0.1), (3, 0.2))
    upper = tried((1, 0.5), (0.333, 0.1), (3, 0.8))
    lower = tried((1, 0.5), (0.333, 0.9), (3, 0.1))
    assert next_rates(inside) == ()
    assert next_rates(upper) == (9,)
    assert next_rates(lower) == (0.111,)
    assert next_rates([*upper, record("A", 9, 0.85)]) == (27,)
    assert next_rates([*upper, record("A", 9, 0.85), record("A", 27, 0.9)]) == ()
    assert next_rates([*upper, record("A", 9, 0.6)]) == ()
    assert not on_edge(inside)
    assert on_edge(upper)
    assert on_edge(lower)


def test_a_rate_that_breaks_bounds_is_not_the_best() -> None:
    tried = [record("A", 1, 0.5), record("A", 0.333, 0.4), record("A", 3, 0.9, violated=("x",))]
    assert next_rates(tried) == ()
