"""Fitting the recipe to the number of edits that will be made.

What a location can hold, and what tuning loses, depends on how many edits go in at once: a rate
that keeps the bounds on 79 edits breaks them on 264. So the finalists' rate and batch are searched
again on all edits to be made, from where they did best on S.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from locscope.recommendation.finalists import asked_for
from locscope.recommendation.looser_bounds import is_useful, judged
from locscope.records import Recipe, TrialRecord
from locscope.scoring.bounds import shortfall
from locscope.scoring.objectives import Objective
from locscope.selection.choice import best_per_location, utility
from locscope.selection.grids import keeps, next_rates

CLOSE = 0.05
"""A finalist that lacks more than this to the chosen one on S and V is not fitted beside it."""
MOST_RATES = 6
"""Rates of a location that are tried on all edits."""
MOST_MENDS = 3
"""Rates of a smaller batch: the one that was best, and lower ones while it breaks a bound."""
SMALLEST_BATCH = 8
BOUND_MARGIN = 0.5
"""Share of the room below bounds on drift that is still left free when fitting: the edits are those
that will be made, and other texts alone can show more drift."""
BETTER = 0.02
"""What a location must have more than the chosen one, on all edits, to take its place."""

Run = Callable[[Sequence[Recipe]], Sequence[TrialRecord]]


@dataclass(frozen=True)
class Fitted:
    """A finalist with its trials on all edits to be made, and the best of them."""

    location: str
    record: TrialRecord
    tried: tuple[TrialRecord, ...]


def fit(first: Recipe, run: Run, objective: Objective, *, batches: bool) -> Fitted:
    """The best rate and, with `batches`, the best batch of one location on all edits to be made.

    Rates go on from that of `first` as those on S do. Then the batch is halved for as long as that
    gains: smaller batches are more steps, which learn more of many edits and lose more. Where that
    breaks a bound, a lower rate may still gain.
    """
    tried = _rates(first, run, objective, MOST_RATES)
    best = best_of(tried, objective)
    while batches and (batch := _smaller(best.trial.recipe.batch)):
        smaller = replace(best.trial.recipe, batch=batch)
        tried += _rates(smaller, run, objective, MOST_MENDS, until_kept=True)
        last, best = best, best_of(tried, objective)
        if best is last:
            break
    return Fitted(best.trial.location, best, tuple(tried))


def _smaller(batch: int) -> int:
    """Half of it, the smallest there is where that is less; 0 where it is that already."""
    half = max(SMALLEST_BATCH, batch // 2)
    return half if half < batch else 0


def _rates(
    first: Recipe, run: Run, objective: Objective, most: int, *, until_kept: bool = False
) -> list[TrialRecord]:
    """Trials of one batch, so many rates at most; `until_kept` only mends what the first breaks."""
    tried = list(run((first,)))
    while len(tried) < most and not (until_kept and any(map(keeps, tried))):
        rates = next_rates(tried, objective)
        if not rates:
            break
        tried += run([replace(first, lr=rate) for rate in rates])
    return tried


def together(first: Fitted, again: Fitted, objective: Objective) -> Fitted:
    """One location that was fitted twice, within other bounds: the best of all its trials."""
    once = {one.trial.id: judged(one, objective) for one in (*first.tried, *again.tried)}
    tried = tuple(once.values())
    return Fitted(first.location, best_of(tried, objective), tried)


def best_of(tried: Sequence[TrialRecord], objective: Objective) -> TrialRecord:
    """The best of one location's trials; of those that are useful, where any is.

    A harmonic mean can put a few edits and most neighbours above nearly all edits and few
    neighbours. Who asks for edits wants them made.
    """
    useful = [record for record in tried if is_useful(record, objective)]
    return best_per_location(useful or tried, objective)[0].record


def first_of(fitted: Sequence[Fitted], objective: Objective) -> Fitted:
    """Which of the finalists to use, the chosen one given first.

    It gives way to one that keeps bounds which it breaks, or breaks them by less, to a useful one
    where it is not, and to one that is no worse in both and is better by more than `BETTER` (of a
    knee no single trial tells that).
    """
    chosen = fitted[0]
    for other in fitted[1:]:
        mine, its = (_missed(one.record, objective) for one in (chosen, other))
        better = (
            not objective.knee
            and utility(other.record, objective) > utility(chosen.record, objective) + BETTER
        )
        if its < mine or (its == mine and better):
            chosen = other
    return chosen


def _missed(record: TrialRecord, objective: Objective) -> tuple[bool, float, bool]:
    bounds = asked_for(objective)
    missed = not keeps(record), shortfall(record.measures, bounds)
    return (*missed, not is_useful(record, objective))
