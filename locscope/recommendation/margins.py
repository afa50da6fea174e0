"""How contenders compare on T: pooled measures, scores and paired margins with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from locscope.locations import Location
from locscope.recommendation.finalists import RANDOM, Finalist
from locscope.recommendation.paired import Groups, paired, per_edit, rows, shared_by
from locscope.records import Margin, Measure, TrialRecord
from locscope.scoring.chance import margin_over_mean
from locscope.scoring.objectives import Objective
from locscope.scoring.repetitions import repeated, shared_edits
from locscope.scoring.statistics import Interval, overlaps_zero, paired_margin

OVER_EDITS = "paired by edit, bootstrap over groups of edits"
OVER_REPETITIONS = (
    "paired by repetition, Student's t, widened for the {shared:.0%} of edits that two of the "
    "{count} repetitions share"
)
OVER_LOCATIONS = "paired by edit, bootstrap over groups of edits and over the random locations"
OVER_TRIALS = (
    "paired by repetition, Student's t over random locations, widened for the {shared:.0%} of "
    "edits that two repetitions share"
)


@dataclass(frozen=True)
class Context:
    """What the recommendation is about. `groups` hold ids of edits that belong together: those of
    T, and `all_groups` those of all edits."""

    objective: Objective
    model: str
    model_hash: str
    edits: str
    edits_hash: str
    seed: int
    version: str
    groups: Groups
    all_groups: Groups
    non_inferiority: float = 0.0


def is_tie(margin: Margin) -> bool:
    """Whether a margin cannot be told from none."""
    return overlaps_zero(Interval(margin.value, margin.low, margin.high, 0))


def margin(context: Context, first: Finalist, other: Finalist) -> Margin:
    """How much more the first scores on T than the other."""
    interval = paired(first.on_t, other.on_t, context.objective, context.groups, context.seed)
    words = OVER_EDITS
    if context.objective.kept:
        words = OVER_REPETITIONS.format(shared=shared_by(first.on_t), count=len(first.on_t))
    return _as_margin(other.role, other.location, interval, words)


def margin_over_randoms(context: Context, first: Finalist, randoms: Sequence[Finalist]) -> Margin:
    """How much more the first scores on T than random locations do on average."""
    objective, words = context.objective, f"mean of {len(randoms)} random locations"
    if objective.kept:
        # By the subset: a random location has one trial, on any of them.
        mine = {record.trial.edits: record.score for record in first.on_t}
        drawn = [record for location in randoms for record in location.on_t]
        apart = [mine[record.trial.edits] - record.score for record in drawn]
        interval = repeated(apart, shared_by(first.on_t))
        return _as_margin(RANDOM, words, interval, OVER_TRIALS.format(shared=shared_by(first.on_t)))
    interval = margin_over_mean(
        per_edit(context.groups, first.on_t, objective.weights),
        [per_edit(context.groups, location.on_t, objective.weights) for location in randoms],
        rows(context.groups),
        tuple(objective.weights.values()),
        seed=context.seed,
    )
    return _as_margin(RANDOM, words, interval, OVER_LOCATIONS)


def _as_margin(role: str, location: Location | str, interval: Interval, protocol: str) -> Margin:
    return Margin(role, location, interval.value, interval.low, interval.high, protocol)


def score_of(
    groups: Groups, records: Sequence[TrialRecord], objective: Objective, seed: int
) -> Interval:
    """The score of these trials together, with its interval: over groups of edits, or over trials
    where the score holds more than outcomes of edits."""
    if objective.kept:
        shared = shared_edits([record.trial.edits for record in records])
        interval = repeated([record.score for record in records], shared)
        low, high = (min(1.0, max(0.0, end)) for end in (interval.low, interval.high))
        return interval if isnan(interval.low) else replace(interval, low=low, high=high)
    values, weights = per_edit(groups, records, objective.weights), [*objective.weights.values()]
    # Against nothing at all, a paired margin is the score itself.
    return paired_margin(values, np.zeros_like(values), rows(groups), weights, seed=seed)


def pooled(records: Sequence[TrialRecord]) -> tuple[Measure, ...]:
    """Every measure as its mean over the repetitions that have it; so too its interval and count.

    A mean of intervals is as wide as one repetition's: on the safe side.
    """
    names = [measure.name for measure in records[0].measures]
    return tuple(pooled_measure([record.measure(name) for record in records]) for name in names)


def pooled_measure(measures: Sequence[Measure]) -> Measure:
    """The mean of one measure over those trials that have it."""

    def average(field: str) -> float:
        values = [getattr(measure, field) for measure in measures if measure.count]
        return float(np.mean(values)) if values else nan

    return replace(
        measures[0],
        value=average("value"),
        low=average("low"),
        high=average("high"),
        before=average("before"),
        count=round(float(np.mean([measure.count for measure in measures]))),
    )
