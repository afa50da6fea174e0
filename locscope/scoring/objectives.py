"""What a trial is worth: one score, and the bounds that it must keep.

A term that was not measured is left out and the score is named for what it holds. An objective is
an entry of `OBJECTIVES`: what it weighs and asks for is data, and one way of scoring serves all.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan

from locscope.errors import UsageError, unknown
from locscope.records import Measure
from locscope.scoring.bounds import RATIO, SHARES, Bound, bound_of, named, tightened


@dataclass(frozen=True)
class Score:
    """A value from 0 to 1 and the name that says what it holds; NaN where nothing was measured."""

    name: str
    value: float


@dataclass(frozen=True)
class Term:
    """A share of the edits' prompts that the score holds, and its weight in the harmonic mean."""

    measure: str
    weight: float = 1.0

    def __str__(self) -> str:
        """Its name, and its weight where that is not 1."""
        return self.measure if self.weight == 1 else f"{self.measure} x {self.weight:g}"


@dataclass(frozen=True)
class Objective:
    """A table entry: what the score holds, and the bounds to keep.

    The score is the weighted harmonic mean of those `terms` that were measured and of what is
    `kept` (the first of these measures of collapse that was measured, as a share; see `kept`).
    `tie` names the measure that decides between equal scores. With `knee` the trials are ranked by
    efficacy against collapse and the knee of the front is the best. `bound_margin` is the share of
    what bounds on drift allow that `strict` leaves free; its `asked` are the bounds without it.
    """

    name: str
    title: str
    terms: tuple[Term, ...]
    bounds: tuple[Bound, ...] = ()
    kept: tuple[str, ...] = ()
    tie: str = ""
    knee: bool = False
    bound_margin: float = 0.0
    asked: tuple[Bound, ...] = ()

    @property
    def strict(self) -> "Objective":
        """What one chooses by: bounds on drift with their margin. The best of many rates lies at
        the limit, and half of what lies at a limit on S is beyond it on other edits."""
        bounds = tuple(tightened(bound, self.bound_margin) for bound in self.bounds)
        return replace(self, bounds=bounds, bound_margin=0.0, asked=self.asked or self.bounds)


EFFICACY = (Term("reliability"), Term("generalization"), Term("locality"))
"""What a good edit is: the fact is changed, also in other words, and nothing beside it is."""
QUICK = {
    "reliability": "target_probability",
    "generalization": "rephrase_probability",
    "locality": "neighbour_kept",
}
"""What stands in for a share while few steps were taken: a probability, which is continuous."""

OBJECTIVES: dict[str, Objective] = {
    entry.name: entry
    for entry in (
        Objective(
            name="balanced",
            title="harmonic mean of reliability, generalization and locality, without collapse",
            terms=EFFICACY,
            bounds=(
                Bound("perplexity_ratio", "at most", RATIO),
                Bound("retention", "at least", 0.95, sure=True),
            ),
        ),
        Objective(
            name="capability-first",
            title="the most that is kept of what the model could, once the edits are reliable",
            terms=(),
            bounds=(Bound("reliability", "at least", 0.95, needed=True),),
            kept=("retention", "perplexity_ratio"),
            tie="generalization",
        ),
        Objective(
            name="pareto",
            title="the knee of efficacy against collapse",
            terms=EFFICACY,
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
    """The objective of that name with one's own weights and bounds.

    A bound replaces the objective's own on the same measure; weights are above 0, 1 where none is
    given. A UsageError names what is unknown or cannot be read.
    """
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    objective, given = OBJECTIVES[name], tuple(map(bound_of, bounds))
    replaced = {bound.measure for bound in given}
    rest = tuple(bound for bound in objective.bounds if bound.measure not in replaced)
    return replace(objective, terms=_weighed(objective, weights or {}), bounds=(*rest, *given))


def _weighed(objective: Objective, weights: Mapping[str, float]) -> tuple[Term, ...]:
    if weights and not objective.terms:
        raise UsageError(
            f"objective {objective.name} has no weights: it goes by {' or '.join(objective.kept)}"
        )
    for name, weight in weights.items():
        if name not in (names := [term.measure for term in objective.terms]):
            raise unknown(f"term of objective {objective.name}", name, names)
        if not (isfinite(weight) and weight > 0):
            raise UsageError(f"weight {weight:g} of {name}: it must be a number above 0")
    return tuple(Term(t.measure, float(weights.get(t.measure, t.weight))) for t in objective.terms)


def refuse_unmeasurable(objective: Objective, can: Container[str]) -> None:
    """A UsageError where a needed bound, or all that the score holds, cannot be measured.

    `can` has the names of what these edits and this material allow to be measured. Bounds that the
    objective merely brings along are left out in silence.
    """
    for bound in objective.bounds:
        if bound.needed and bound.measure not in can:
            remedy = _REMEDIES.get(bound.measure, "another bound")
            raise UsageError(
                f"bound '{bound}' of objective {objective.name}: {bound.measure} cannot be "
                f"measured with these edits (S and T each need some) and this material; {remedy}, "
                "or leave the bound out"
            )
    for part in (tuple(term.measure for term in objective.terms), objective.kept):
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
    if min(numbers) <= 0:
        return 0.0
    if len(numbers) == 1:
        return float(numbers[0])
    return sum(by) / sum(weight / number for weight, number in zip(by, numbers, strict=True))


def score(measures: Sequence[Measure], objective: Objective = BALANCED) -> Score:
    """The harmonic mean of what the objective weighs and was measured, named for what it holds."""
    return _score(measures, objective.terms, objective.kept)


def nothing_learned(
    measures: Sequence[Measure], objective: Objective = BALANCED
) -> tuple[str, ...]:
    """A sentence where the score is 0 or no number: that meets no objective, whatever is kept."""
    found = score(measures, objective).value
    if isnan(found):
        return ("nothing could be measured",)
    terms = [term.measure for term in objective.terms]
    zero = [one.name for one in measures if one.name in terms and one.value <= 0]
    why = f", as {' and '.join(zero)} {'are' if len(zero) > 1 else 'is'}" if zero else ""
    return (f"the score is 0{why}",) if found <= 0 else ()


def merit(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """The score by which trials are ranked: that of `score`, but no share in it is exactly 0.

    A harmonic mean is 0 as soon as one share is, and then tells nothing of the others. So none of n
    items counts as half an item; what is shown stays exact.
    """
    return _score(tuple(map(_above_zero, measures)), objective.terms, objective.kept).value


def _above_zero(measure: Measure) -> Measure:
    if measure.name not in SHARES or not measure.count:
        return measure
    return replace(measure, value=max(measure.value, 0.5 / measure.count))


def quick_score(measures: Sequence[Measure], objective: Objective = BALANCED) -> Score:
    """The score of a trial in which only probabilities were read.

    It is continuous, so that it tells places apart after few steps, when hardly an answer is right.
    Terms are replaced by their probabilities (`QUICK`), the weights stay. `pareto` adds the
    perplexity ratio as in full: the mean rises with either side, so its best is on the front.
    `capability-first` has no terms, and by what is kept alone a place that learns nothing would
    lead; so the probability of what its bound asks for joins in. After few steps that decides,
    as little is lost yet; among places that all learn, what is kept does.
    """
    terms = objective.terms or tuple(
        Term(b.measure) for b in objective.bounds if b.measure in QUICK
    )
    return _score(measures, _quick(terms), objective.kept)


def efficacy(measures: Sequence[Measure], objective: Objective = BALANCED) -> float:
    """How well the edits took, 0..1: harmonic mean of reliability, generalization and locality.

    Locality is in it, for what an edit does to its neighbours shows in no neutral text and else
    nothing would hold it back. Weighted as in the objective; what was not measured is left out,
    probabilities stand in after a quick evaluation. Only the target's answer is sure to be
    measured, so that there always is a number.
    """
    terms = objective.terms or EFFICACY
    full = _score(measures, terms, ()).value
    return _score(measures, _quick(terms), ()).value if isnan(full) else full


def collapse(measures: Sequence[Measure]) -> float:
    """How much of the rest was lost, 0..1: 1 - 1/r of the pooled perplexity ratio r, at least 0.

    1/r is the geometric mean, over neutral tokens, of the probability kept. It needs neutral text
    only, which there always is; retention needs abilities, and a KL divergence counts harmless
    change too. Below r = 1 nothing is lost, and how far below is luck.
    """
    return 1 - kept(measures, "perplexity_ratio")


def kept(measures: Sequence[Measure], name: str) -> float:
    """A measure of collapse as a share kept, 0..1, 1 as untouched: retention, or 1/perplexity.

    Above 1 counts as 1: the aim is to lose nothing. No finite number although items were judged is
    0, for such a model has collapsed; not measured is NaN.
    """
    measure = named(measures, name)
    if measure is None or isnan(measure.value):
        return 0.0 if measure is not None and measure.count else nan
    if name == "retention":
        return min(1.0, max(0.0, measure.value))
    return min(1.0, 1 / measure.value) if measure.value > 0 else nan


def _quick(terms: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(Term(QUICK[term.measure], term.weight) for term in terms)


@dataclass(frozen=True)
class _Part:
    """What the score is a mean of."""

    name: str
    value: float
    weight: float = 1.0


def _score(measures: Sequence[Measure], terms: Iterable[Term], losses: Sequence[str]) -> Score:
    wanted = tuple(terms)
    found = ((term, named(measures, term.measure)) for term in wanted)
    shares = [_Part(str(t), m.value, t.weight) for t, m in found if m and not isnan(m.value)]
    left = [_Part(_kept_name(name), kept(measures, name)) for name in losses]
    left = [part for part in left if not isnan(part.value)][:1]
    if (wanted and not shares) or (losses and not left):
        return Score("nothing measured", nan)
    parts = [*shares, *left]
    value = harmonic([part.value for part in parts], [part.weight for part in parts])
    return Score(f"harmonic({', '.join(part.name for part in parts)})", value)


def _kept_name(name: str) -> str:
    return name if name == "retention" else f"1/{name}"
