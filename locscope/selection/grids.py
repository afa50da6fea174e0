"""The grid of learning rates of one location: grown while its best is an edge, cut by the bounds.

Where tuning harder still gains but breaks a bound, the best rate lies between two of the grid, and
how good a place looks would hang on where the grid happens to fall. So the grid gets finer there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, log

from locscope.records import TrialRecord
from locscope.scoring.bounds import crossing
from locscope.scoring.objectives import Objective
from locscope.selection.candidates import STEP, rounded
from locscope.selection.choice import Best, best_per_location, levelled, standing

EXTENSIONS = 2
"""How far beyond 1/3, 1, 3 a grid grows on a side while its best lies on that edge."""
CLOSE = 1.5
"""Rates by less than this factor apart are not told apart further."""
SURE = 0.02
"""A gain that three scores only hint at must be larger to be sought."""
LEAST, MOST = 1 / 4, 3 / 4
"""Of the way between two rates: a rate nearer to one of them would tell little more than it."""


@dataclass(frozen=True)
class Cut:
    """About where a bound cuts a grid off, and the score to expect there."""

    lr: float
    score: float


def on_edge(tried: Sequence[TrialRecord], aim: Objective) -> bool:
    """Whether the best rate tried at one location is the lowest or the highest of its grid."""
    rates = [record.trial.recipe.lr for record in tried]
    return len(rates) > 1 and _best(tried, aim).trial.recipe.lr in (min(rates), max(rates))


def next_rates(tried: Sequence[TrialRecord], aim: Objective) -> tuple[float, ...]:
    """The rates to try next at one location; none once its best is inside its grid.

    The grid is 1/3, 1 and 3 times the first rate tried, finer between a rate that keeps the bounds
    and its neighbour that breaks one, where more than the best is to be expected before it does,
    and extended while the best lies on its edge.
    """
    first = tried[0].trial.recipe.lr
    rates = sorted(record.trial.recipe.lr for record in tried)
    if len(rates) == 1:
        return (rounded(first / STEP), rounded(first * STEP))
    if (found := cut(tried, aim)) is not None:
        return (found.lr,)
    best = _best(tried, aim).trial.recipe.lr
    reach = STEP ** (1 + EXTENSIONS) * 1.01
    if best == rates[0] and first / (best / STEP) < reach:
        return (rounded(best / STEP),)
    if best == rates[-1] and best * STEP / first < reach:
        return (rounded(best * STEP),)
    return ()


def climbed(
    first: float,
    run: Callable[[Sequence[float]], Sequence[TrialRecord]],
    aim: Objective,
) -> tuple[TrialRecord, ...]:
    """The trials of one place, made by `run`, at its first rate and at all that follow from it."""
    found, wanted = list[TrialRecord](), (first,)
    while wanted:
        found += run(wanted)
        wanted = next_rates(found, aim)
    return tuple(found)


def cut(tried: Sequence[TrialRecord], aim: Objective) -> Cut | None:
    """Where a bound cuts off what one location gains; None where it does not, or it is known."""
    best = _best(tried, aim)
    if not keeps(best):
        return None
    rising = sorted(tried, key=_rate)
    found = [
        _between(before, kept, broken, aim)
        for line in (rising, rising[::-1])
        for before, kept, broken in zip((None, *line), line, line[1:], strict=False)
        if keeps(kept) and broken.violated and _apart(kept, broken) > CLOSE
    ]
    gains = [one for one in found if _gains(one.score, best, aim)]
    return max(gains, key=lambda one: one.score, default=None)


def _gains(score: float, best: TrialRecord, aim: Objective) -> bool:
    return levelled(score, aim) > levelled(best.score, aim)


def promising(full: Sequence[TrialRecord], aim: Objective) -> tuple[Best, ...]:
    """Every location at its best rate, those first that are best where a bound cuts them off."""
    best = best_per_location(full, aim)
    if aim.knee:
        return best
    kept = [one for one in best if keeps(one.record)]
    others = [one for one in best if not keeps(one.record)]
    return (*sorted(kept, key=lambda one: -levelled(_promise(one, aim), aim)), *others)


def leading(full: Sequence[TrialRecord], aim: Objective, count: int) -> tuple[Best, ...]:
    """So many promising locations, and as many that would lead but for a bound: at lower rates
    they may. Where nothing keeps the bounds, the nearest to them."""
    best = promising(full, aim)
    kept = [one for one in best if keeps(one.record)]
    if not kept:
        return best[:count]
    most = max(one.record.score for one in kept)
    near = [one for one in best if one.record.violated and one.record.score > most]
    return (*kept[:count], *near[:count])


def keeps(record: TrialRecord) -> bool:
    """Whether a trial keeps the bounds, and was measured."""
    return not record.violated and not isnan(record.score)


def _promise(best: Best, aim: Objective) -> float:
    found = cut(best.tried, aim)
    return best.record.score if found is None else found.score


def _between(
    before: TrialRecord | None, kept: TrialRecord, broken: TrialRecord, aim: Objective
) -> Cut:
    """Where the bound is met on the way from a rate that keeps it, `before` is the rate on the
    other side of that one."""
    share = min(MOST, max(LEAST, crossing(kept.measures, broken.measures, aim.bounds)))
    rate = rounded(_rate(kept) * (_rate(broken) / _rate(kept)) ** share)
    score = kept.score + share * (broken.score - kept.score)
    if before is not None and broken.score <= kept.score:
        # Past its peak by then: that may lie between, and before the bound.
        score = max(score, _bent(before, kept, broken, share) - SURE)
    return Cut(rate, score)


def _bent(before: TrialRecord, kept: TrialRecord, broken: TrialRecord, share: float) -> float:
    """The score a share of the way from kept to broken, on a parabola over the log of rates."""
    back = log(_rate(before) / _rate(kept)) / log(_rate(broken) / _rate(kept))
    return (
        before.score * share * (share - 1) / (back * (back - 1))
        + kept.score * (share - back) * (1 - share) / -back
        + broken.score * (share - back) * share / (1 - back)
    )


def _apart(one: TrialRecord, other: TrialRecord) -> float:
    low, high = sorted((_rate(one), _rate(other)))
    return high / low


def _rate(record: TrialRecord) -> float:
    return record.trial.recipe.lr


def _best(tried: Sequence[TrialRecord], aim: Objective) -> TrialRecord:
    """By score in any case: the ends of a front are seldom its knee, so no grid would ever grow."""
    return min(tried, key=lambda record: standing(record, aim))
