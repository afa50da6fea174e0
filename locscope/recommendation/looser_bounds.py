"""Where the bound on the perplexity ratio leaves nothing useful: what looser ones would give.

On a small model an edit costs more perplexity than on a large one, and what is best within the
bound may have learned next to nothing. Then the best trial within each of several bounds is shown,
and the search goes on within the one at the knee of score against what is lost. It says that the
bound asked for is missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, log, nan

from locscope.records import BoundPoint, TrialRecord
from locscope.scoring.bounds import RATIOS, Bound, ratio_limit, violations
from locscope.scoring.front import Point, knee
from locscope.scoring.objectives import Objective
from locscope.selection.choice import ranked, utility

LIMITS = (1.02, 1.05, 1.08, 1.12, 1.18, 1.25)
"""Perplexity ratios that are shown as bounds. Trials far beyond the bound are given up early, so
that little is known of looser ones."""
LEARNED = 0.9
"""Reliability below which the report says what the bound on perplexity costs."""
USEFUL = 0.5
"""Reliability below which what is best within the bounds is of little use."""


@dataclass(frozen=True)
class Relaxed:
    """The objective to go on with, without a margin below its bounds; the looser bound as it is
    written, and what each would give. Both are empty where the bound that was asked for leaves
    something useful, and only its margin does not."""

    objective: Objective
    bound: str
    points: tuple[BoundPoint, ...]


def relaxed(full: Sequence[TrialRecord], objective: Objective) -> Relaxed | None:
    """The objective to go on with where the best within its bounds learns little; None where that
    is useful, where the objective has no bound on perplexity, or where looser ones are no better.

    `full` are trials in full, all on the same edits.
    """
    limit, best = ratio_limit(objective.bounds), ranked(full, objective.strict)[:1]
    if isnan(limit) or not best or is_useful(best[0], objective.strict):
        return None
    if _within(full, objective, limit).reliability >= USEFUL:
        return Relaxed(replace(objective, bound_margin=0.0), "", ())
    points = within_each(full, objective)
    looser = [point for point in points if point.limit > limit and point.reliability >= USEFUL]
    if not looser:
        return None
    # The limit as a share lost, on the scale of `scoring.objectives.collapse`.
    steps = [Point(point.score, 1 - 1 / point.limit) for point in looser]
    chosen = looser[knee(steps)].limit
    return Relaxed(_loosened(objective, chosen), f"{RATIOS[0]}<={chosen:g}", points)


def within_each(full: Sequence[TrialRecord], objective: Objective) -> tuple[BoundPoint, ...]:
    """What each of several bounds on the perplexity ratio would give, that of the objective among
    them; nothing for an objective without one."""
    limit = ratio_limit(objective.bounds)
    if isnan(limit) or not full:
        return ()
    return tuple(_within(full, objective, each) for each in sorted({*LIMITS, limit}))


def cost_of_bound(tried: Sequence[TrialRecord], objective: Objective) -> tuple[BoundPoint, ...]:
    """The same, where the best within the bound leaves much unlearned and that beyond it less."""
    points, limit = within_each(tried, objective), ratio_limit(objective.bounds)
    learned = max((point.reliability for point in points if point.limit == limit), default=nan)
    more = any(point.reliability > learned for point in points if point.limit > limit)
    return points if learned < LEARNED and more else ()


def at_count(
    tried: Sequence[TrialRecord], objective: Objective, of_s: Relaxed | None
) -> Relaxed | None:
    """The looser bound to go by on the edits that will be made; None for the one asked for.

    `tried` are trials on all of these, and `of_s` is the bound that S led to: what is lost grows
    with the edits, so that it may be too tight here, or no longer needed where more was tried.
    """
    records = [judged(record, objective) for record in tried]
    if any(is_useful(record, objective.strict) for record in records):
        return None
    return relaxed(records, objective) or of_s


def judged(record: TrialRecord, objective: Objective) -> TrialRecord:
    """The record as the objective's bounds judge it: trials are written down by those asked for."""
    # A quick trial is only raced, and what only reports is judged without a margin.
    if record.trial.quick or not record.trial.choosing:
        return record
    return replace(record, violated=violations(record.measures, objective.strict.bounds))


def is_useful(record: TrialRecord, objective: Objective) -> bool:
    """Whether it keeps the bounds and learned; what has no reliability cannot be told useless."""
    reliability = record.measure("reliability").value
    if isnan(reliability):
        return True
    return not violations(record.measures, objective.bounds) and reliability >= USEFUL


def _within(full: Sequence[TrialRecord], objective: Objective, limit: float) -> BoundPoint:
    loosened, edits = _loosened(objective, limit), len(full[0].trial.edits)
    # Bounds as they are, without what a choice leaves free: this says what the bound would give.
    within = [record for record in full if not violations(record.measures, loosened.bounds)]
    if not within:
        return BoundPoint(limit, None, nan, nan, nan, nan, edits)
    # Of equal trials the one at the lowest rate, whatever their order.
    best = max(within, key=lambda trial: (utility(trial, objective), -log(trial.trial.recipe.lr)))
    return BoundPoint(
        limit=limit,
        location=best.trial.location,
        lr=best.trial.recipe.lr,
        score=best.score,
        reliability=best.measure("reliability").value,
        perplexity_ratio=best.measure(RATIOS[0]).value,
        edits=edits,
    )


def _loosened(objective: Objective, limit: float) -> Objective:
    def loosen(bound: Bound) -> Bound:
        return replace(bound, limit=limit) if bound.measure == RATIOS[0] else bound

    # It is a bound at which trials were seen to be, and no promise: a margin would forbid these.
    return replace(
        objective,
        bounds=tuple(map(loosen, objective.bounds)),
        asked=tuple(map(loosen, objective.asked)),
        bound_margin=0.0,
    )
