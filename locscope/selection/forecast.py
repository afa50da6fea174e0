"""From a quick evaluation to what a full run would show: early rungs tune few edits and hardly
collapse.

Drift grows with what is tuned. In the quick evaluation KL(untouched || tuned) on neutral text says
how fast (it is above zero and smooth where the perplexity ratio is noise), and for small drifts it
is about the log of the perplexity ratio that the bound is on. The growth from one to the other is
that of edits times epochs, until locations that were run both ways tell better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isnan, log
from statistics import median

from locscope.locations import Location
from locscope.records import TrialRecord
from locscope.scoring.bounds import ratio_limit
from locscope.scoring.objectives import Objective
from locscope.selection.space import FULL, Space, at_rung

SPREAD = 0.7
"""Of the forecast, in natural logarithms: a factor of two either way is common."""
TINY = 1e-9
HUGE = 1e9
"""A perplexity ratio beyond it says no more: an infinite one would forbid every location."""


@dataclass(frozen=True)
class Forecast:
    """A location and rate with the score to expect of it in full; of a quick evaluation it is a
    rank, not a share."""

    location: Location
    lr: float
    value: float


def forecasts(
    space: Space, quick_trials: Sequence[TrialRecord], records: Sequence[TrialRecord]
) -> tuple[Forecast, ...]:
    """What to expect of every quick evaluation in full, best first; `records` are all trials so
    far."""
    rate = growth(space, quick_trials, at_rung(records, FULL))
    found = [_forecast(space.objective, record, rate) for record in quick_trials]
    # By name where values are equal, so that the order of trials decides nothing.
    return tuple(
        sorted(found, key=lambda forecast: (-forecast.value, forecast.location, forecast.lr))
    )


def growth(space: Space, quick_trials: Sequence[TrialRecord], full: Sequence[TrialRecord]) -> float:
    """By how much drift in full is above that at a quick evaluation: a median over what was run
    both ways."""
    before = {_key(record): _drift(record) for record in quick_trials}
    # A ratio below 1 is noise: whatever was tuned longer has not drifted less.
    seen = [
        log(max(_collapse(record) / before[_key(record)], 1.0))
        for record in full
        if 0 < before.get(_key(record), 0.0) < inf and not isnan(_collapse(record))
    ]
    work = [len(record.trial.edits) * record.trial.recipe.epochs for record in quick_trials]
    usual = log(space.edits * space.epochs / median(work)) if work else 0.0
    # The rule counts as one location seen.
    return exp(median([*seen, usual])) if seen else exp(usual)


def _forecast(objective: Objective, record: TrialRecord, rate: float) -> Forecast:
    value = (
        0.0 if isnan(record.score) else record.score * chance_kept(objective, _drift(record) * rate)
    )
    return Forecast(record.trial.location, record.trial.recipe.lr, value)


def chance_kept(objective: Objective, drift: float) -> float:
    """How likely a run with that drift (nats) keeps the bound on the perplexity ratio."""
    limit = ratio_limit(objective.bounds)
    if isnan(limit) or limit == inf or isnan(drift):
        return 1.0
    if limit <= 1:
        return 0.0 if drift > 0 else 1.0
    beyond = (log(max(drift, TINY)) - log(log(limit))) / SPREAD
    return 1 / (1 + exp(min(beyond, 500.0)))


def _key(record: TrialRecord) -> tuple[Location, float]:
    return record.trial.location, record.trial.recipe.lr


def _drift(record: TrialRecord) -> float:
    """Infinite where it was judged and is no number: the weights have blown up."""
    found = record.measure("kl")
    return inf if isnan(found.value) and found.count else found.value


def _collapse(record: TrialRecord) -> float:
    ratio = record.measure("perplexity_ratio").value
    return log(min(ratio, HUGE)) if ratio > 0 else ratio
