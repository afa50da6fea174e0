"""Fitting recipes to the edits to be made: rates, then batches, then which finalist is used."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hand_made import BALANCED, shares, tuned

from locscope.recommendation import fitting
from locscope.recommendation.fitting import (
    BETTER,
    MOST_MENDS,
    SMALLEST_BATCH,
    best_of,
    first_of,
    fit,
)
from locscope.records import Recipe, TrialRecord
from locscope.scoring.objectives import Objective
from locscope.selection.choice import Best

FIRST = Recipe(1.0, 64)


class Shop:
    """Answers recipes by a rule from rate and batch to a share and a perplexity ratio."""

    def __init__(self, rule: Callable[[float, int], tuple[float, float]]) -> None:
        self.rule, self.asked = rule, list[Recipe]()

    def run(self, recipes: Sequence[Recipe]) -> list[TrialRecord]:
        assert len(set(recipes)) == len(recipes)
        assert not set(recipes) & set(self.asked), "nothing is asked twice"
        self.asked += recipes
        return [self.record(recipe) for recipe in recipes]

    def record(self, recipe: Recipe) -> TrialRecord:
        share, ratio = self.rule(recipe.lr, recipe.batch)
        one = tuned("L0.mlp", BALANCED, lr=recipe.lr, **shares(share, share, share, ratio))
        return replace(one, trial=replace(one.trial, recipe=recipe))


def sold(first: Recipe, shop: Shop, objective: Objective, *, batches: bool) -> Best:
    """What fitting returns once the shop has answered all that it asks for."""
    asking = fit(first, objective, batches=batches)
    recipes = next(asking)
    while True:
        try:
            recipes = asking.send(shop.run(recipes))
        except StopIteration as finished:
            return finished.value


def test_a_rate_that_breaks_a_bound_on_all_edits_comes_down() -> None:
    """What keeps the bounds at a few edits breaks them at many: the limit is at a fourth here."""
    shop = Shop(lambda lr, _: (0.8 * lr**0.3 if lr < 1 else 0.8, 1.05 ** (4 * lr)))
    found = sold(FIRST, shop, BALANCED, batches=False)
    assert str(found.location) == "L0.mlp"
    assert shop.asked[0] == FIRST
    assert found.record.trial.recipe.lr <= 0.25
    assert found.record.trial.recipe.lr >= 0.25 / 1.25
    assert not found.record.violated
    assert found.tried == tuple(map(shop.record, shop.asked))
    assert {one.batch for one in shop.asked} == {64}


def test_a_rate_with_bound_margin_left_goes_up() -> None:
    shop = Shop(lambda lr, _: (min(1.0, 0.2 * lr), 1.05 ** (0.25 * lr)))
    found = sold(FIRST, shop, BALANCED, batches=False)
    assert 3 < found.record.trial.recipe.lr <= 4
    assert not found.record.violated


def test_no_more_rates_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = lambda lr, _: (min(1.0, 0.01 * lr), 1.001)  # noqa: E731
    free = Shop(rule)
    sold(FIRST, free, BALANCED, batches=False)
    for most in (1, 2, 3):
        monkeypatch.setattr(fitting, "MOST_RATES", most)
        shop = Shop(rule)
        sold(FIRST, shop, BALANCED, batches=False)
        assert len(shop.asked) <= most < len(free.asked)
    assert len(free.asked) <= 6


def test_batches_are_halved_while_that_gains() -> None:
    gains = {64: 0.5, 32: 0.6, 16: 0.7, 8: 0.65}
    shop = Shop(lambda lr, batch: (gains[batch] - abs(lr - 1) / 10, 1.049))
    found = sold(FIRST, shop, BALANCED, batches=True)
    best = found.record.trial.recipe
    assert (best.batch, best.lr) == (16, 1.0)
    assert [one.batch for one in shop.asked if one.lr == best.lr] == [64, 32, 16, 8]
    assert all(one.batch == 64 for one in shop.asked if one.lr != best.lr)


def test_a_batch_that_breaks_a_bound_is_not_taken() -> None:
    shop = Shop(lambda lr, batch: (0.5, 1.0499) if batch == 64 and lr == 1 else (0.9, 1.2))
    found = sold(FIRST, shop, BALANCED, batches=True)
    assert found.record.trial.recipe == FIRST
    assert found.record.score == pytest.approx(0.5)


def test_a_smaller_batch_that_breaks_a_bound_is_tried_at_lower_rates() -> None:
    """As seen on the bundled model: half the batch at half the rate learns more and loses less."""

    def rule(lr: float, batch: int) -> tuple[float, float]:
        return lr**0.2 * (0.5 if batch == 64 else 0.8), 1.05 ** (lr * (0.95 if batch == 64 else 2))

    shop = Shop(rule)
    found = sold(FIRST, shop, BALANCED, batches=True)
    best = found.record.trial.recipe
    assert best.batch < 64
    assert best.lr <= 0.5 < found.record.score
    assert not found.record.violated
    smaller = [one.batch for one in shop.asked if one.batch != 64]
    assert max(map(smaller.count, smaller)) <= MOST_MENDS


@pytest.mark.parametrize(
    ("batch", "tried"),
    [(SMALLEST_BATCH, {8}), (2 * SMALLEST_BATCH - 1, {15, 8}), (7, {7}), (20, {20, 10, 8})],
)
def test_batches_are_halved_down_to_the_smallest(batch: int, tried: set[int]) -> None:
    shop = Shop(lambda lr, some: (1 / some, 1.049))
    found = sold(replace(FIRST, batch=batch), shop, BALANCED, batches=True)
    assert {one.batch for one in shop.asked} == tried
    assert found.record.trial.recipe.batch == min(tried)


def test_a_batch_that_was_set_stays() -> None:
    shop = Shop(lambda lr, some: (1 / some, 1.049))
    sold(FIRST, shop, BALANCED, batches=False)
    assert {one.batch for one in shop.asked} == {64}


def fitted(location: str, share: float, ratio: float = 1.0) -> Best:
    record = tuned(location, BALANCED, **shares(share, share, share, ratio))
    return Best(record.trial.location, record, (record,))


@pytest.mark.parametrize(
    ("chosen", "other", "wins"),
    [
        ((0.8, 1.0), (0.8 + BETTER / 2, 1.0), False),
        ((0.8, 1.0), (0.8 + 2 * BETTER, 1.0), True),
        ((0.8, 1.06), (0.3, 1.0), True),
        ((0.8, 1.0), (1.0, 1.06), False),
        ((0.8, 1.2), (0.3, 1.06), True),
        ((0.8, 1.06), (1.0, 1.2), False),
    ],
)
def test_bounds_first_then_better_by_more_than_luck(
    chosen: tuple[float, float], other: tuple[float, float], wins: bool
) -> None:
    first, second = fitted("L0.mlp", *chosen), fitted("L1.mlp", *other)
    assert first_of([first, second], BALANCED) is (second if wins else first)


def test_what_makes_the_edits_goes_before_a_better_score_that_makes_few() -> None:
    """SmolLM2 on zsRE: reliability 0.33 scored 0.22, reliability 0.95 at another location 0.13."""
    few = tuned("L0.mlp", BALANCED, lr=1.0, **shares(0.33, 0.26, 0.14, 1.0))
    made = tuned("L0.mlp", BALANCED, lr=2.0, **shares(0.95, 0.5, 0.05, 1.0))
    assert few.score > made.score
    assert best_of([few, made], BALANCED) is made
    assert best_of([few], BALANCED) is few
    other = Best(made.trial.location, made, (made,))
    assert first_of([Best(few.trial.location, few, (few,)), other], BALANCED) is other


def test_the_chosen_stays_where_nothing_else_was_fitted() -> None:
    only = fitted("L0.mlp", 0.0, 2.0)
    assert first_of([only], BALANCED) is only
