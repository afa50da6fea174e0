"""What a trial is worth: one score, and the bounds that it must keep.

A term that was not measured is left out and the score is named for what it holds. An objective is
an entry of `OBJECTIVES`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

from locscope.errors import unknown
from locscope.records import Measure


@dataclass(frozen=True)
class Score:
    """A value from 0 to 1 and the name that says what it holds; NaN where nothing was measured."""

    name: str
    value: float


@dataclass(frozen=True)
class Bound:
    """A measure must be at most or at least a limit.

    With `sure` it is broken only where the whole interval lies beyond the limit.
    """

    measure: str
    side: Literal["at most", "at least"]
    limit: float
    sure: bool = False


@dataclass(frozen=True)
class Objective:
    """A table entry: the measures whose harmonic mean is the score, and the bounds to keep."""

    name: str
    title: str
    terms: tuple[str, ...]
    bounds: tuple[Bound, ...]


BALANCED = (
    Bound("perplexity_ratio", "at most", 1.05),
    Bound("retention", "at least", 0.95, sure=True),
)
"""No collapse: pooled perplexity ratio at most 1.05, abilities not surely below 0.95 of before."""

OBJECTIVES: dict[str, Objective] = {
    "balanced": Objective(
        name="balanced",
        title="harmonic mean of reliability, generalization and locality, without collapse",
        terms=("reliability", "generalization", "locality"),
        bounds=BALANCED,
    ),
}
"""The objectives that a search can have, by name."""


def objective(name: str) -> Objective:
    """The objective of that name; a UsageError with near names where there is none."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def harmonic(values: Iterable[float]) -> float:
    """The harmonic mean of shares: 0 where one is 0, NaN where one is NaN or there are none."""
    numbers = list(values)
    if not numbers or any(map(isnan, numbers)):
        return nan
    return 0.0 if min(numbers) <= 0 else len(numbers) / sum(1 / number for number in numbers)


def score(measures: Sequence[Measure], terms: Sequence[str] | None = None) -> Score:
    """The harmonic mean of those terms that were measured, named for what it holds.

    The terms are those of the balanced objective unless given.
    """
    wanted = OBJECTIVES["balanced"].terms if terms is None else terms
    found = [m for name in wanted for m in _named(measures, name) if not isnan(m.value)]
    if not found:
        return Score("nothing measured", nan)
    name = f"harmonic({', '.join(measure.name for measure in found)})"
    return Score(name, harmonic(measure.value for measure in found))


def violations(measures: Sequence[Measure], bounds: Sequence[Bound]) -> tuple[str, ...]:
    """A sentence for every bound that is broken. What was not measured breaks none.

    A measure that judged items and still has no number breaks its bound: a model whose loss is
    not finite has collapsed.
    """
    broken = []
    for bound in bounds:
        for measure in _named(measures, bound.measure):
            if isnan(measure.value) and measure.count:
                broken.append(f"{measure.name} of {measure.count} items is not a finite number")
            elif _beyond(measure, bound):
                broken.append(_sentence(measure, bound))
    return tuple(broken)


def _named(measures: Sequence[Measure], name: str) -> tuple[Measure, ...]:
    """The first measure of that name, if any: protocols are never mixed."""
    return next(((measure,) for measure in measures if measure.name == name), ())


def _judged(measure: Measure, bound: Bound) -> float:
    """The number held against the limit: with `sure` the end of the interval that is nearest."""
    end = measure.low if bound.side == "at most" else measure.high
    return end if bound.sure and not isnan(end) else measure.value


def _beyond(measure: Measure, bound: Bound) -> bool:
    number = _judged(measure, bound)
    return number > bound.limit if bound.side == "at most" else number < bound.limit


def _sentence(measure: Measure, bound: Bound) -> str:
    side = "above" if bound.side == "at most" else "below"
    end = _judged(measure, bound)
    words = "at least" if bound.side == "at most" else "at most"
    interval = "" if end == measure.value else f" ({words} {end:.3g})"
    return f"{measure.name} {measure.value:.4g}{interval} is {side} {bound.limit:g}"
