"""What a trial is worth: one score, and the bounds that it must keep.

The score leaves out what was not measured, and its name says what it holds. An objective is an
entry of `OBJECTIVES`: its weights and bounds are data, and one way of scoring serves all.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan

from locscope.errors import UsageError, unknown
from locscope.records import Measure
from locscope.scoring.bounds import RATIO, SHARES, Bound, bound_of, named, tightened


@dataclass(frozen=True)
class Objective:
    """A table entry: what the score holds, and the bounds to keep.

    The score is a weighted harmonic mean: of the measures named in `weights` that were measured,
    shares of the edits' prompts, and of what is `kept` (the first of these measures of collapse
    that was measured, as a share; see `kept`), which has weight 1. `tie` names the measure that
    decides between equal scores. With `knee` the trials are ranked by efficacy against collapse and
    the knee of the front is the best. `bound_margin` is the share of what bounds on drift allow
    that `strict` leaves free; its `asked` are the bounds without it.
    """

    name: str
    title: str
    weights: Mapping[str, float]
    bounds: tuple[Bound, ...] = ()
    kept: tuple[str, ...] = ()
    tie: str = ""
    knee: bool = False
    bound_margin: float = 0.0
    asked: tuple[Bound, ...] = ()

    @property
    def strict(self) -> "Objective":
        """The objective that choices go by: bounds on drift with their margin."""
        # The best of many rates lies at the limit, and half of what lies at a limit on S is beyond
        # it on other edits.
        bounds = tuple(tightened(bound, self.bound_margin) for bound in self.bounds)
        return replace(self, bounds=bounds, bound_margin=0.0, asked=self.asked or self.bounds)


EFFICACY = {"reliability": 1.0, "generalization": 1.0, "locality": 1.0}
"""Weights of what a good edit is: the fact is changed, also in other words, and nothing else is."""
QUICK = {
    "reliability": "target_probability",
    "generalization": "rephrase_probability",
    "locality": "neighbour_kept",
}
"""The probability that stands in for a share after few steps, because it is continuous."""

OBJECTIVES: dict[str, Objective] = {
    entry.name: entry
    for entry in (
        Objective(
            name="balanced",
            title="harmonic mean of reliability, generalization and locality, without collapse",
            weights=EFFICACY,
            bounds=(
                Bound("perplexity_ratio", "at most", RATIO),
                Bound("retention", "at least", 0.95, sure=True),
            ),
        ),
        Objective(
            name="capability-first",
            title="the most that is kept of what the model could, once the edits are reliable",
            weights={},
            bounds=(Bound("reliability", "at least", 0.95, needed=True),),
            kept=("retention", "perplexity_ratio"),
            tie="generalization",
        ),
        Objective(
            name="pareto",
            title="the knee of efficacy against collapse",
            weights=EFFICACY,
            kept=("perplexity_ratio",),
            knee=True,
        ),
    )
}
"""The objectives that a search can have, by name."""
BALANCED = OBJECTIVES["balanced"]

_REMEDIES = {
    "retention": "give abilities that the untouched model has (--abilities FILE)",
    "generalization": "give edits with rephrases",
    "rephrase_probability": "give edits with rephrases",
    "locality": "give edits with neighbours",
    "neighbour_kept": "give edits with neighbours",
    "locality_span": "give edits with neighbours",
    "locality_tokens": "give edits with neighbours and their answers",
    "format_leakage": "give edits with neighbours",
    "neighbour_accuracy": "give edits with neighbours and their answers",
    "forms": "give edits with other forms",
    "multihop": "give edits with multi-hop questions",
}


def objective_of(
    name: str, weights: Mapping[str, float] | None = None, bounds: Sequence[str] = ()
) -> Objective:
    """The objective of that name with the user's own weights and bounds.

    A bound replaces the objective's own on the same measure; weights are above 0, 1 where none is
    given. A UsageError names what is unknown or cannot be read.
    """
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    objective, own = OBJECTIVES[name], tuple(map(bound_of, bounds))
    replaced = {bound.measure for bound in own}
    # The user's own bound is instead of the objective's: two on one measure would both hold.
    rest = tuple(bound for bound in objective.bounds if bound.measure not in replaced)
    return replace(objective, weights=_weighed(objective, weights or {}), bounds=(*rest, *own))


def _weighed(objective: Objective, weights: Mapping[str, float]) -> dict[str, float]:
    if weights and not objective.weights:
        raise UsageError(
            f"objective {objective.name} has no weights: it goes by {' or '.join(objective.kept)}"
        )
    for name, weight in weights.items():
        if name not in objective.weights:
            raise unknown(f"term of objective {objective.name}", name, objective.weights)
        if not (isfinite(weight) and weight > 0):
            raise UsageError(f"weight {weight:g} of {name}: it must be a number above 0")
    return {name: float(weights.get(name, own)) for name, own in objective.weights.items()}


def refuse_unmeasurable(objective: Objective, can: Container[str]) -> None:
    """Raises a UsageError where a needed bound, or all that the score holds, cannot be measured.

    `can` has the names of the measures that these edits and texts allow. Bounds that nobody asked
    for are left out in silence.
    """
    for bound in objective.bounds:
        if bound.needed and bound.measure not in can:
            remedy = _REMEDIES.get(bound.measure, "another bound")
            raise UsageError(
                f"bound '{bound}' of objective {objective.name}: {bound.measure} cannot be "
                f"measured with these edits (S and T each need some) and this material; {remedy}, "
                "or leave the bound out"
            )
    for part in (tuple(objective.weights), objective.kept):
        if part and not any(name in can for name in part):
            raise UsageError(
                f"objective {objective.name} goes by {' or '.join(part)}, which cannot be measured "
                "with these edits (S and T each need some) and this material; "
                f"{_REMEDIES.get(part[0], 'take another objective')}"
            )


def harmonic(values: Iterable[float], weights: Iterable[float] | None = None) -> float:
    """The weighted harmonic mean of shares: 0 where one is 0, NaN where one is NaN or for none."""
    numbers = list(values)
    by = [1.0] * len(numbers) if weights is None else list(weights)
    if not numbers or any(map(isnan, numbers)):
        return nan
    # A share cannot be negative; a retention corrected for chance can.
    if min(numbers) <= 0:
        return 0.0
    if len(numbers) == 1:
        return float(numbers[0])
    return sum(by) / sum(weight / number for weight, number in zip(by, numbers, strict=True))


def score(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """The harmonic mean, 0..1, of what the objective weighs; NaN where nothing was measured."""
    shares = _shares(measures, objective.weights, objective.kept)
    return harmonic(shares.values(), (objective.weights.get(name, 1.0) for name in shares))


def score_name(measures: Sequence[Measure], objective: Objective = BALANCED) -> str:
    """What the `score` of these measures holds: `harmonic(reliability, locality x 2)`."""
    shares = _shares(measures, objective.weights, objective.kept)
    names = (_term_name(name, objective) for name in shares)
    return f"harmonic({', '.join(names)})" if shares else "nothing measured"


def _term_name(name: str, objective: Objective) -> str:
    weight = objective.weights.get(name, 1.0)
    if name in objective.kept and name != "retention":
        return f"1/{name}"
    return name if weight == 1 else f"{name} x {weight:g}"


def nothing_learned(
    measures: Sequence[Measure], objective: Objective = BALANCED
) -> tuple[str, ...]:
    """A sentence where the score is 0 or no number: that meets no objective, whatever is kept."""
    value = score(measures, objective)
    if isnan(value):
        return ("nothing could be measured",)
    zero = [m.name for m in measures if m.name in objective.weights and m.value <= 0]
    why = f", as {' and '.join(zero)} {'are' if len(zero) > 1 else 'is'}" if zero else ""
    return (f"the score is 0{why}",) if value <= 0 else ()


def merit(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """The score by which trials are ranked: that of `score`, but no share in it is exactly 0.

    A harmonic mean is 0 as soon as one share is, and then tells nothing of the others. So none of n
    items counts as half an item; what is shown stays exact.
    """
    return score(tuple(map(_above_zero, measures)), objective)


def _above_zero(measure: Measure) -> Measure:
    if measure.name not in SHARES or not measure.count:
        return measure
    # Half an item, so that the order of trials with more than none right stays as it is.
    return replace(measure, value=max(measure.value, 0.5 / measure.count))


def quick_score(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """The score of a trial in which only probabilities were read (`quick_objective`)."""
    return score(measures, quick_objective(objective))


def quick_objective(objective: Objective) -> Objective:
    """The objective as quick trials are scored by it: by probabilities, with the same weights.

    Probabilities are continuous, so that they tell locations apart after few steps, when hardly an
    answer is right. `pareto` adds the perplexity ratio as in full: the mean rises with either side,
    so its best is on the front. `capability-first` has no weights, and by what is kept alone a
    location that learns nothing would lead; so the probability of what its bound asks for joins in.
    After few steps that decides, as little is lost yet; among locations that all learn, what is
    kept does.
    """
    asked = {b.measure: 1.0 for b in objective.bounds if b.measure in QUICK}
    return replace(objective, weights=_quick(objective.weights or asked))


def efficacy(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """How well the edits took, 0..1: harmonic mean of reliability, generalization and locality.

    Locality is in it, for what an edit does to its neighbours shows in no neutral text and else
    nothing would hold it back. Weighted as in the objective; what was not measured is left out,
    probabilities stand in after a quick evaluation. Only the target's answer is sure to be
    measured, so that there always is a number.
    """
    full = replace(objective, weights=objective.weights or EFFICACY, kept=())
    value = score(measures, full)
    return score(measures, quick_objective(full)) if isnan(value) else value


def collapse(measures: Sequence[Measure]) -> float:
    """How much of the rest was lost, 0..1: 1 - 1/r of the pooled perplexity ratio r, at least 0.

    1/r is the geometric mean, over neutral tokens, of the probability kept. It needs neutral text
    only, which there always is; retention needs abilities, and a KL divergence counts harmless
    change too. Below r = 1 nothing is lost, and how far below is luck.
    """
    return 1 - kept(measures, "perplexity_ratio")


def kept(measures: Sequence[Measure], name: str) -> float:
    """A measure of collapse as a share kept, 0..1, 1 as untouched: retention, or 1/perplexity.

    Above 1 counts as 1: the aim is to lose nothing. Where items were judged and the value is no
    finite number, the model has collapsed, and the share is 0; not measured is NaN.
    """
    measure = named(measures, name)
    if measure is None or isnan(measure.value):
        return 0.0 if measure is not None and measure.count else nan
    # Corrected for chance, so that it may lie below 0 or above 1.
    if name == "retention":
        return min(1.0, max(0.0, measure.value))
    return min(1.0, 1 / measure.value) if measure.value > 0 else nan


def _quick(weights: Mapping[str, float]) -> dict[str, float]:
    return {QUICK[name]: weight for name, weight in weights.items()}


def _shares(
    measures: Sequence[Measure], wanted: Iterable[str], losses: Iterable[str]
) -> dict[str, float]:
    """What the score is the mean of, by measure.

    Empty also where there is nothing of what is wanted, or nothing of the losses: a score of one
    side alone would be on another scale than those of other trials.
    """
    wanted, losses = tuple(wanted), tuple(losses)
    measured = ((name, named(measures, name)) for name in wanted)
    shares = {name: m.value for name, m in measured if m is not None and not isnan(m.value)}
    left = {name: share for name in losses if not isnan(share := kept(measures, name))}
    if (wanted and not shares) or (losses and not left):
        return {}
    return shares | dict(list(left.items())[:1])
