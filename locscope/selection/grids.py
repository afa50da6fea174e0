"""The learning rates of one location: grown while its best is an edge, finer where a bound cuts.

Where tuning harder still gains but breaks a bound, the best rate lies between two of the grid, and
how good a location looks would hang on where the grid happens to fall. So the grid gets finer
there.
"""

from collections.abc import Callable, Sequence
from math import isnan, log

from locscope.records import TrialRecord
from locscope.scoring.bounds import crossing, headroom, mendable
from locscope.scoring.objectives import Objective
from locscope.selection.candidates import STEP, rounded
from locscope.selection.choice import Best, best_per_location, levelled, standing, utility
from locscope.selection.forecast import Forecast

REACH = STEP**3 * 1.01
"""How many times its first rate, and what part of it, a location is tried at."""
NEAREST = 1.25
"""The least factor between a rate and the next one beyond it."""
ENOUGH = 1.1
"""What a bound allows over what was lost: so near to it a higher rate has nothing to gain."""
CLOSE = 1.2
"""Rates by less than this factor apart are not told apart further."""
LEARNED = 0.05
"""Reliability below which a trial is taken to have learned nothing."""
SURE = 0.02
"""A gain that three scores only hint at must be larger to be sought."""
CEILING = 0.8
"""The score that tuning harder leads to, unless more was seen."""
STEEP = 1.5
"""The power of what is lost with which the odds of scores below the ceiling grow."""
LEAST, MOST = 1 / 4, 3 / 4
"""Of the way between two rates: a rate nearer to one of them would tell little more than it."""


def on_edge(tried: Sequence[TrialRecord], objective: Objective) -> bool:
    """Whether a better rate may lie beyond the lowest or the highest tried at one location."""
    return len(tried) > 1 and bool(_beyond(tried, objective))


def next_rates(tried: Sequence[TrialRecord], objective: Objective) -> tuple[float, ...]:
    """The rates to try next at one location; none once its best is inside its grid.

    Between a rate that keeps the bounds and its neighbour that breaks one, where more than the best
    is to be expected before it does; else beyond the best, where that is the edge of the grid.
    """
    if (found := cut(tried, objective)) is not None:
        return (found.lr,)
    first, wanted = _rate(tried[0]), map(rounded, _beyond(tried, objective))
    return tuple(rate for rate in wanted if 1 / REACH < rate / first < REACH)


def _beyond(tried: Sequence[TrialRecord], objective: Objective) -> tuple[float, ...]:
    """The rates wanted below the lowest and above the highest of those tried."""
    rising, best = sorted(tried, key=_rate), _best(tried, objective)
    if not learned(best) and keeps(rising[-1]):
        # Nothing was learned at any of them, so that a lower one will not do.
        best = rising[-1]
    rate, first = _rate(best), _rate(tried[0])
    times = headroom(best.measures, objective.bounds)
    wanted = []
    if best is rising[0] and learned(best) and _gains_below(rising, times, objective):
        below = sum(_rate(record) < first for record in tried)
        wanted.append(rate / (_step(1 / times, below) if 0 < times < 1 else STEP))
    if best is rising[-1] and not times <= ENOUGH:
        above = sum(_rate(record) > first for record in tried)
        wanted.append(rate * _step(times, above))
    return tuple(wanted)


def learned(record: TrialRecord) -> bool:
    """Whether tuning taught the model anything of the edits: lower rates teach less."""
    reliability = record.measure("reliability").value
    return record.score > 0 if isnan(reliability) else reliability >= LEARNED


def _gains_below(rising: Sequence[TrialRecord], times: float, objective: Objective) -> bool:
    """Whether a rate below the lowest, which is the best, may be better."""
    if times < 1:
        return True
    if len(rising) == 1:
        return not times > ENOUGH
    # Where the next one scored more (and broke a bound), the score still rises with the rate.
    return not utility(rising[1], objective) > utility(rising[0], objective)


def _step(far: float, before: int) -> float:
    """The factor to the rate at which the limit would be met, if what is lost grew as the rate does
    (so it does, about: `reports/LOG.md`); longer with each step `before` that fell short.

    Three where no limit tells.
    """
    return STEP if isnan(far) else min(max(far, NEAREST ** (1 + before)), STEP)


def climbed(
    first: float,
    run: Callable[[Sequence[float]], Sequence[TrialRecord]],
    objective: Objective,
) -> tuple[TrialRecord, ...]:
    """The trials of one location, made by `run`, at its first rate and all that follow from it."""
    found, wanted = list[TrialRecord](), (first,)
    while wanted:
        found += run(wanted)
        wanted = next_rates(found, objective)
    return tuple(found)


def cut(tried: Sequence[TrialRecord], objective: Objective) -> Forecast | None:
    """The rate at which a bound cuts off what one location gains, about; None where none does, or
    it is known."""
    best = _best(tried, objective)
    if not keeps(best):
        return None
    rising = sorted(tried, key=_rate)
    found = [
        _between(before, kept, broken, objective)
        # Both ways: a bound on drift is broken above some rate, one on what is learned below.
        for line in (rising, rising[::-1])
        for before, kept, broken in zip((None, *line), line, line[1:], strict=False)
        if keeps(kept) and broken.violated and _apart(kept, broken) > CLOSE
    ]
    gains = [forecast for forecast in found if _gains(forecast.value, best, objective)]
    return max(gains, key=lambda forecast: forecast.value, default=None)


def _gains(score: float, best: TrialRecord, objective: Objective) -> bool:
    return levelled(score, objective) > levelled(utility(best, objective), objective)


def leading(full: Sequence[TrialRecord], objective: Objective) -> tuple[Best, ...]:
    """Every location at its best rate, those of most promise first: what is out of the running is
    given no more rates. What no other rate would mend goes last, the nearest to the bounds first.
    """
    every = best_per_location(full, objective)
    if objective.knee:
        return every
    in_play, others = [], []
    for best in every:
        (in_play if _in_play(best, objective) else others).append(best)
    return (
        *sorted(in_play, key=lambda best: -levelled(promise(best, objective), objective)),
        *others,
    )


def promise(best: Best, objective: Objective) -> float:
    """The score to expect of a location at the best of all rates that keep the bounds.

    Where none lies on the other side of the limit, that at its best rate, grown or shrunk by what
    the limit allows over what was lost; grown by no more than one step up may bring.
    """
    record, tried = best.record, best.tried
    if (found := cut(tried, objective)) is not None:
        return found.value
    times = headroom(record.measures, objective.bounds)
    if isnan(times) or not objective.weights or (times > 1 and record is not max(tried, key=_rate)):
        return utility(record, objective)
    return grown(utility(record, objective), min(times, STEP))


def grown(score: float, times: float) -> float:
    """The score to expect where so many times as much is lost, by a logistic curve over its
    logarithm, as scores of locations were seen to go (`reports/LOG.md`).
    """
    if not 0 < score < 1:
        return score if times else 0.0
    top, odds = max(CEILING, (1 + score) / 2), times**STEEP
    return top * score * odds / (top - score + score * odds)


def _in_play(best: Best, objective: Objective) -> bool:
    """Whether it keeps the bounds, or a lower rate may mend what it breaks, or a higher one."""
    record = best.record
    if isnan(record.score):
        return False
    if mendable(record.measures, objective.bounds):
        return True
    highest = record is max(best.tried, key=_rate)
    # Where nothing but bounds asks for edits that take, what learned nothing would lead.
    return (
        highest and bool(objective.weights) and headroom(record.measures, objective.bounds) > ENOUGH
    )


def keeps(record: TrialRecord) -> bool:
    """Whether a trial keeps the bounds, and was measured."""
    return not record.violated and not isnan(record.score)


def _between(
    before: TrialRecord | None, kept: TrialRecord, broken: TrialRecord, objective: Objective
) -> Forecast:
    """Where the bound is met on the way from a rate that keeps it, `before` is the rate on the
    other side of that one."""
    share = min(MOST, max(LEAST, crossing(kept.measures, broken.measures, objective.bounds)))
    rate = rounded(_rate(kept) * (_rate(broken) / _rate(kept)) ** share)
    here, there = utility(kept, objective), utility(broken, objective)
    score = here + share * (there - here)
    if before is not None and there <= here:
        # Past its peak by then: that may lie between, and before the bound.
        score = max(score, _bent(before, kept, broken, share, objective) - SURE)
    return Forecast(kept.trial.location, rate, score)


def _bent(
    before: TrialRecord, kept: TrialRecord, broken: TrialRecord, share: float, objective: Objective
) -> float:
    """The score a share of the way from kept to broken, on a parabola over the log of rates."""
    back = log(_rate(before) / _rate(kept)) / log(_rate(broken) / _rate(kept))
    return (
        utility(before, objective) * share * (share - 1) / (back * (back - 1))
        + utility(kept, objective) * (share - back) * (1 - share) / -back
        + utility(broken, objective) * (share - back) * share / (1 - back)
    )


def _apart(one: TrialRecord, other: TrialRecord) -> float:
    low, high = sorted((_rate(one), _rate(other)))
    return high / low


def _rate(record: TrialRecord) -> float:
    return record.trial.recipe.lr


def _best(tried: Sequence[TrialRecord], objective: Objective) -> TrialRecord:
    """By score in any case: the ends of a front are seldom its knee, so no grid would ever grow."""
    return min(tried, key=lambda record: standing(record, objective))
