"""Fitting the recipe to the number of edits that will be made.

What a location can hold, and what tuning loses, depends on how many edits are tuned at once: a
rate that keeps the bounds on 79 edits breaks them on 264. So rate and batch of the finalists are
searched again on all edits to be made, starting from where they did best on S.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TypeVar

from locscope.recommendation.finalists import asked_for
from locscope.recommendation.looser_bounds import is_useful, judged
from locscope.records import Recipe, TrialRecord
from locscope.scoring.bounds import shortfall
from locscope.scoring.objectives import Objective
from locscope.selection.choice import Best, best_per_location, utility
from locscope.selection.grids import keeps, next_rates

CLOSE = 0.05
"""A finalist that lacks more than this to the chosen one on S and V is not fitted beside it."""
MOST_RATES = 6
"""Rates of a location that are tried on all edits."""
MOST_MENDS = 3
"""Rates of a smaller batch: the one that was best, and lower ones while it breaks a bound."""
SMALLEST_BATCH = 8
KEPT_FREE = 0.5
"""Share of the bound margin that fitting still leaves free: the edits are those that will be made,
and other texts alone can show more drift."""
BETTER = 0.02
"""What a location must have more than the chosen one, on all edits, to take its place."""

Result = TypeVar("Result")
Asking = Generator[Sequence[Recipe], Sequence[TrialRecord], Result]
"""Yields the recipes to try next, and is sent their records."""


def fit(first: Recipe, objective: Objective, *, batches: bool) -> Asking[Best]:
    """Asks for the trials of one location on all edits to be made, and returns its best rate and,
    with `batches`, its best batch.

    The grid of rates starts at that of `first` and grows as grids on S do. Then the batch is halved
    for as long as that gains: smaller batches are more steps, which learn more of many edits and
    lose more. Where that breaks a bound, a lower rate may still gain.
    """
    tried = yield from _rates(first, objective, MOST_RATES)
    best = best_of(tried, objective)
    while batches and (batch := _smaller(best.trial.recipe.batch)):
        smaller = replace(best.trial.recipe, batch=batch)
        tried += yield from _rates(smaller, objective, MOST_MENDS, until_kept=True)
        last, best = best, best_of(tried, objective)
        # The next batch has still more steps, which lose more.
        if best is last:
            break
    return Best(best.trial.location, best, tuple(tried))


def _smaller(batch: int) -> int:
    """Half of it, the smallest there is where that is less; 0 where it is that already."""
    half = max(SMALLEST_BATCH, batch // 2)
    return half if half < batch else 0


def _rates(
    first: Recipe, objective: Objective, most: int, *, until_kept: bool = False
) -> Asking[list[TrialRecord]]:
    """Trials of one batch, so many rates at most; `until_kept` only mends what the first breaks."""
    tried = list((yield (first,)))
    while len(tried) < most and not (until_kept and any(map(keeps, tried))):
        rates = next_rates(tried, objective)
        if not rates:
            break
        tried += yield [replace(first, lr=rate) for rate in rates]
    return tried


def together(first: Best, again: Best, objective: Objective) -> Best:
    """One location that was fitted twice, within other bounds: the best of all its trials."""
    # Both fits may have run the same trial: by id it counts once.
    trials = {record.trial.id: judged(record, objective) for record in (*first.tried, *again.tried)}
    tried = tuple(trials.values())
    return Best(first.location, best_of(tried, objective), tried)


def best_of(tried: Sequence[TrialRecord], objective: Objective) -> TrialRecord:
    """The best of one location's trials; of those that are useful, where any is.

    A harmonic mean can put a few edits and most neighbours above nearly all edits and few
    neighbours. Who asks for edits wants them made.
    """
    useful = [record for record in tried if is_useful(record, objective)]
    return best_per_location(useful or tried, objective)[0].record


def first_of(fitted: Sequence[Best], objective: Objective) -> Best:
    """Which of the finalists to use, the chosen one given first.

    It gives way to one that keeps bounds which it breaks, or breaks them by less, to a useful one
    where it is not, and to one that is no worse in both and is better by more than `BETTER` (of a
    knee no single trial tells that).
    """
    chosen = fitted[0]
    for other in fitted[1:]:
        mine, its = (_missed(best.record, objective) for best in (chosen, other))
        better = (
            not objective.knee
            and utility(other.record, objective) > utility(chosen.record, objective) + BETTER
        )
        # A tie changes nothing: on S and V there were more trials than this one.
        if its < mine or (its == mine and better):
            chosen = other
    return chosen


def _missed(record: TrialRecord, objective: Objective) -> tuple[bool, float, bool]:
    bounds = asked_for(objective)
    missed = not keeps(record), shortfall(record.measures, bounds)
    return (*missed, not is_useful(record, objective))
