"""The recommendation: what was chosen on S, as it showed on R, against what it has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from locscope.records import Contender, Margin, Measure, Recommendation, TrialRecord
from locscope.scoring.objectives import objective, violations
from locscope.scoring.statistics import Interval, overlaps_zero, paired_margin
from locscope.selection.choice import Best

TERMS = ("reliability", "generalization", "locality")


@dataclass(frozen=True)
class Confirmed:
    """A contender's best on S and its trials on R, one for each repetition, in their order."""

    role: str
    best: Best
    records: tuple[TrialRecord, ...]


@dataclass(frozen=True)
class Context:
    """What the recommendation is about. `groups` hold ids of edits that belong together."""

    objective: str
    model: str
    model_hash: str
    edits: str
    edits_hash: str
    seed: int
    version: str
    groups: tuple[tuple[str, ...], ...]


def recommend(context: Context, confirmed: Sequence[Confirmed]) -> Recommendation:
    """The first of the confirmed is the recommended one; the others are compared with it."""
    contenders = tuple(_contender(context, one) for one in confirmed)
    margins = tuple(_margin(context, confirmed[0], other) for other in confirmed[1:])
    best = contenders[0]
    missed = (*best.violated, *_nothing_learned(best))
    runner_up = next((margin for margin in margins if margin.over == "runner-up"), None)
    tie = runner_up is not None and _is_tie(runner_up)
    return Recommendation(
        sentence=_sentence(best, runner_up, tie, missed),
        score_name=confirmed[0].records[0].score_name,
        objective=context.objective,
        contenders=contenders,
        margins=margins,
        tie=tie,
        met=not missed,
        missed=missed,
        model=context.model,
        model_hash=context.model_hash,
        edits=context.edits,
        edits_hash=context.edits_hash,
        seed=context.seed,
        version=context.version,
    )


def pooled(records: Sequence[TrialRecord]) -> tuple[Measure, ...]:
    """Every measure as its mean over the repetitions that have it; so too its interval and count.

    A mean of intervals is as wide as one repetition's: on the safe side.
    """
    names = [measure.name for measure in records[0].measures]
    return tuple(_pooled_measure([record.measure(name) for record in records]) for name in names)


def _pooled_measure(found: Sequence[Measure]) -> Measure:
    def average(field: str) -> float:
        values = [getattr(measure, field) for measure in found if measure.count]
        return float(np.mean(values)) if values else nan

    return replace(
        found[0],
        value=average("value"),
        low=average("low"),
        high=average("high"),
        before=average("before"),
        count=round(float(np.mean([measure.count for measure in found]))),
    )


def _contender(context: Context, one: Confirmed) -> Contender:
    measures = pooled(one.records)
    values = _per_edit(context, one.records)
    # Against nothing at all, a paired margin is the score itself.
    score = paired_margin(values, np.zeros_like(values), _groups(context), seed=context.seed)
    return Contender(
        role=one.role,
        location=one.best.location,
        recipe=one.best.record.trial.recipe,
        parameters=one.best.record.parameters,
        parameter_count=one.best.record.parameter_count,
        score_s=one.best.record.score,
        score=score.value,
        low=score.low,
        high=score.high,
        repetitions=tuple(record.score for record in one.records),
        measures=measures,
        violated=violations(measures, objective(context.objective).bounds),
    )


def _margin(context: Context, first: Confirmed, other: Confirmed) -> Margin:
    found = paired_margin(
        _per_edit(context, first.records),
        _per_edit(context, other.records),
        _groups(context),
        seed=context.seed,
    )
    return Margin(other.role, other.best.location, found.value, found.low, found.high)


def _per_edit(context: Context, records: Sequence[TrialRecord]) -> np.ndarray:
    """Means over the repetitions, shape (edits, terms); NaN for edits and terms not measured."""
    edits = [edit for group in context.groups for edit in group]
    row = {edit: i for i, edit in enumerate(edits)}
    sums, counts = np.zeros((len(edits), len(TERMS))), np.zeros((len(edits), len(TERMS)))
    for outcome in (outcome for record in records for outcome in record.outcomes):
        for column, term in enumerate(TERMS):
            value = getattr(outcome, term)
            if not isnan(value):
                sums[row[outcome.edit], column] += value
                counts[row[outcome.edit], column] += 1
    return np.divide(sums, counts, out=np.full_like(sums, nan), where=counts > 0)


def _groups(context: Context) -> list[range]:
    """Rows of `_per_edit` that belong together."""
    ends = np.cumsum([len(group) for group in context.groups])
    return [
        range(int(end) - len(group), int(end))
        for end, group in zip(ends, context.groups, strict=True)
    ]


def _nothing_learned(best: Contender) -> tuple[str, ...]:
    if isnan(best.score):
        return ("nothing could be measured",)
    zero = [one.name for one in best.measures if one.name in TERMS and one.value <= 0]
    return (f"the score is 0, as {' and '.join(zero)} is",) if best.score <= 0 else ()


def _is_tie(margin: Margin) -> bool:
    return overlaps_zero(Interval(margin.value, margin.low, margin.high, 0))


def _sentence(best: Contender, runner_up: Margin | None, tie: bool, missed: Sequence[str]) -> str:
    recipe = best.recipe
    found = {measure.name: measure for measure in best.measures}
    shares = [f"{name} {found[name].value:.1%}" for name in TERMS if not isnan(found[name].value)]
    text = (
        f"Tune {best.location} at learning rate {recipe.lr:g} (batch {recipe.batch}, at most "
        f"{recipe.epochs} epochs): on held-out edits {', '.join(shares) or 'nothing measured'}, "
        f"perplexity x {found['perplexity_ratio'].value:.3f}"
    )
    if runner_up is not None:
        how = "a tie with" if tie else "ahead of" if runner_up.value > 0 else "behind"
        text += (
            f"; {how} {runner_up.location} ({runner_up.value:+.3f}, "
            f"95 % {runner_up.low:+.3f} to {runner_up.high:+.3f})"
        )
    return text + (f". It misses: {'; '.join(missed)}." if missed else ".")
