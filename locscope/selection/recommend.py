"""The recommendation: what was chosen on S, as it showed on R, against what it has to beat."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from locscope.records import Contender, Margin, Measure, Recommendation, TrialRecord
from locscope.scoring.bounds import shortfall, violations
from locscope.scoring.objectives import Objective, score
from locscope.scoring.repetitions import repeated, shared_edits
from locscope.scoring.statistics import Interval, overlaps_zero, paired_margin
from locscope.scoring.tradeoffs import front_points
from locscope.selection.choice import Best
from locscope.selection.sentence import sentence

OVER_EDITS = "paired by edit, bootstrap over groups of edits"
OVER_REPETITIONS = (
    "paired by repetition, Student's t, widened for the {shared:.0%} of edits that two of the "
    "{count} repetitions share"
)


@dataclass(frozen=True)
class Confirmed:
    """A contender's best on S and its trials on R, one for each repetition, in their order."""

    role: str
    best: Best
    records: tuple[TrialRecord, ...]


@dataclass(frozen=True)
class Context:
    """What the recommendation is about. `groups` hold ids of edits that belong together."""

    objective: Objective
    model: str
    model_hash: str
    edits: str
    edits_hash: str
    seed: int
    version: str
    groups: tuple[tuple[str, ...], ...]


def recommend(
    context: Context, confirmed: Sequence[Confirmed], tried: Sequence[TrialRecord] = ()
) -> Recommendation:
    """What to recommend of the confirmed, and how it compares with the others of them.

    The first was chosen on S; the runner-up comes before it only by `settled`. `tried` are the
    trials on S that the front of efficacy against collapse is drawn of: of one rung, in full.
    """
    aim, confirmed = context.objective, settled(context, confirmed)
    contenders = tuple(_contender(context, one) for one in confirmed)
    margins = tuple(margin(context, confirmed[0], other) for other in confirmed[1:])
    best = contenders[0]
    missed = (*best.violated, *_nothing_learned(best, aim))
    # Nothing on S kept the bounds: if this does on R, that is luck and no reason to rely on it.
    on_s = _missed_on_s(confirmed[0], aim)
    missed = missed or tuple(f"{one} on S" for one in on_s)
    runner_up = next((one for one in margins if one.over == "runner-up"), None)
    return Recommendation(
        sentence=sentence(contenders, runner_up, missed, nearest=bool(on_s)),
        score_name=score(best.measures, aim).name,
        objective=aim.name,
        contenders=contenders,
        margins=margins,
        tie=runner_up is not None and is_tie(runner_up),
        met=not missed,
        missed=missed,
        model=context.model,
        model_hash=context.model_hash,
        edits=context.edits,
        edits_hash=context.edits_hash,
        seed=context.seed,
        version=context.version,
        weights={term.measure: term.weight for term in aim.terms},
        bounds=tuple(map(str, aim.bounds)),
        room=aim.room,
        front=front_points(tried, aim),
    )


def settled(context: Context, confirmed: Sequence[Confirmed]) -> tuple[Confirmed, ...]:
    """The confirmed, with recommended and runner-up swapped where R settles their tie.

    A tie is a paired difference on R whose interval holds zero, also in what breaks the
    objective's ties. Then the smaller location is recommended, unless it misses the bounds by
    more. Nothing else that R shows moves the choice: it would no longer be one made on S.
    """
    roles = {one.role: one for one in confirmed}
    first, second = roles.get("recommended"), roles.get("runner-up")
    if first is None or second is None or not _gives_way(context, first, second):
        return tuple(confirmed)
    swapped = {
        "recommended": replace(second, role="recommended"),
        "runner-up": replace(first, role="runner-up"),
    }
    return tuple(swapped.get(one.role, one) for one in confirmed)


def _gives_way(context: Context, first: Confirmed, second: Confirmed) -> bool:
    aim = context.objective
    if second.best.record.parameter_count >= first.best.record.parameter_count:
        return False
    if any(map(operator.gt, _misses(second, aim), _misses(first, aim))):
        return False
    found = margin(context, first, second)
    if isnan(found.value) or not is_tie(found):
        return False
    if not aim.tie:
        return True
    decides = _margin_of(context, first, second, (aim.tie,))
    # What was not measured cannot tell them apart.
    return isnan(decides.value) or is_tie(decides)


def _misses(one: Confirmed, aim: Objective) -> tuple[float, float]:
    """How far it is from the bounds it was chosen by, on S, and from those asked for, on R."""
    chosen, shown = one.best.record.measures, pooled(one.records)
    return shortfall(chosen, aim.strict.bounds), shortfall(shown, aim.bounds)


def is_tie(found: Margin) -> bool:
    """Whether a margin cannot be told from none."""
    return overlaps_zero(Interval(found.value, found.low, found.high, 0))


def margin(context: Context, first: Confirmed, other: Confirmed) -> Margin:
    """How much more the first scores on R than the other, paired.

    By edit where the score is a mean over edits; else by repetition, of which there are few, so
    that the interval is wide.
    """
    aim = context.objective
    if not aim.kept:
        terms = tuple(term.measure for term in aim.terms)
        return _margin_of(context, first, other, terms, tuple(term.weight for term in aim.terms))
    pairs = zip(first.records, other.records, strict=True)
    found = repeated([one.score - two.score for one, two in pairs], _shared(first))
    words = OVER_REPETITIONS.format(shared=_shared(first), count=len(first.records))
    return _as_margin(other, found, words)


def _margin_of(
    context: Context,
    first: Confirmed,
    other: Confirmed,
    terms: Sequence[str],
    weights: Sequence[float] | None = None,
) -> Margin:
    found = paired_margin(
        _per_edit(context, first.records, terms),
        _per_edit(context, other.records, terms),
        _groups(context),
        weights,
        seed=context.seed,
    )
    return _as_margin(other, found, OVER_EDITS)


def _as_margin(other: Confirmed, found: Interval, protocol: str) -> Margin:
    place = other.best.location
    return Margin(other.role, place, found.value, found.low, found.high, protocol)


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
    measures, score = pooled(one.records), _score(context, one)
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
        violated=violations(measures, context.objective.bounds),
    )


def _score(context: Context, one: Confirmed) -> Interval:
    aim = context.objective
    if aim.kept:
        found = repeated([record.score for record in one.records], _shared(one))
        low, high = (min(1.0, max(0.0, end)) for end in (found.low, found.high))
        return found if isnan(found.low) else replace(found, low=low, high=high)
    values = _per_edit(context, one.records, [term.measure for term in aim.terms])
    weights = [term.weight for term in aim.terms]
    # Against nothing at all, a paired margin is the score itself.
    nothing = np.zeros_like(values)
    return paired_margin(values, nothing, _groups(context), weights, seed=context.seed)


def _shared(one: Confirmed) -> float:
    return shared_edits([record.trial.edits for record in one.records])


def _per_edit(context: Context, records: Sequence[TrialRecord], terms: Sequence[str]) -> np.ndarray:
    """Means over the repetitions, shape (edits, terms); NaN for edits and terms not measured."""
    edits = [edit for group in context.groups for edit in group]
    row = {edit: i for i, edit in enumerate(edits)}
    sums, counts = np.zeros((len(edits), len(terms))), np.zeros((len(edits), len(terms)))
    for outcome in (outcome for record in records for outcome in record.outcomes):
        for column, term in enumerate(terms):
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


def _nothing_learned(best: Contender, aim: Objective) -> tuple[str, ...]:
    if isnan(best.score):
        return ("nothing could be measured",)
    terms = [term.measure for term in aim.terms]
    zero = [one.name for one in best.measures if one.name in terms and one.value <= 0]
    why = f", as {' and '.join(zero)} {'are' if len(zero) > 1 else 'is'}" if zero else ""
    return (f"the score is 0{why}",) if best.score <= 0 else ()


def _missed_on_s(best: Confirmed, aim: Objective) -> tuple[str, ...]:
    """What the best on S missed there, and so all: of the bounds themselves, without room."""
    return violations(best.best.record.measures, aim.bounds)
