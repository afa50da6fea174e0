"""Retention: what is left of abilities that have nothing to do with the facts."""

from math import nan

from locscope.evaluation.measures.outcomes import mean
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure
from locscope.scoring.statistics import chance_corrected, mean_interval
from locscope.scoring.text import normalised_match

PROTOCOL = "greedy output, normalised match; accuracy less chance, over that of the untouched model"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """The ratio (1 is untouched), NaN without abilities or where the untouched model has none.

    `count` is in items; the interval is a bootstrap over them for a known untouched accuracy.
    """
    able = _above_chance(before)
    base = mean(able)
    if not base > 0:
        return Measure("retention", nan, 0, PROTOCOL)
    interval = mean_interval([value / base for value in _above_chance(now)])
    low, high = interval.low, interval.high
    return Measure("retention", interval.value, len(able), PROTOCOL, low, high, before=1.0)


def _above_chance(seen: Evaluation) -> list[float]:
    trios = zip(seen.ability_items, seen.abilities, seen.right_abilities, strict=True)
    return [
        chance_corrected(float(normalised_match(answer.text, right)), item.chance)
        for item, answer, right in trios
    ]
