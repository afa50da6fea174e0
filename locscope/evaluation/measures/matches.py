"""Is a prompt answered as wanted? Exact match of the decoded answer with the stated text."""

from math import isnan, nan

from locscope.evaluation.measures.outcomes import (
    EditValue,
    edit_measure,
    general,
    mean,
    reliable,
    strictly_reliable,
)
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure
from locscope.scoring.text import normalised_match

MATCHED = "greedy output up to its first stop token, newline or full stop, normalised match"
"""How an answer is compared with the new target."""
STRICT = "greedy tokens equal target and stop token"
STATED = "greedy output of neighbours, at most 10 tokens, normalised match with the stated answer"


def reliability(now: Evaluation, before: Evaluation) -> Measure:
    """Share of edits in 0..1 whose own prompt is answered with the new target."""
    return edit_measure("reliability", reliable, MATCHED, now, before)


def reliability_strict(now: Evaluation, before: Evaluation) -> Measure:
    """Share of edits in 0..1 answered with exactly the target's tokens and then a stop token."""
    return edit_measure("reliability_strict", strictly_reliable, STRICT, now, before)


def generalization(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of rephrases answered with the target; NaN where no edit has rephrases."""
    return edit_measure("generalization", general, MATCHED, now, before)


def forms(now: Evaluation, before: Evaluation) -> Measure:
    """Share in 0..1 answered with the target in the worst of the other forms of an edit.

    Forms are questions and multiple choice (arXiv 2506.07795); NaN where no edit has forms.
    """
    kinds = sorted({probe.kind for questions in now.questions for probe in questions.edit.forms})
    by_kind = [
        edit_measure("forms", right_in(kind), f"{kind}; {MATCHED}", now, before) for kind in kinds
    ]
    measured = [measure for measure in by_kind if not isnan(measure.value)]
    # The worst form, as a mean over forms would hide one that is never answered.
    nothing = Measure("forms", nan, 0, MATCHED)
    return min(measured, key=lambda measure: measure.value, default=nothing)


def right_in(kind: str) -> EditValue:
    """Share of an edit's forms of that kind answered with the new target; NaN without any."""

    def value(questions: EditQuestions, answers: EditAnswers) -> float:
        # A trial that is not thorough has the edit's forms, but did not ask them.
        probes = questions.edit.forms if questions.forms else ()
        trios = zip(probes, questions.forms, answers.forms, strict=True)
        return mean(
            float(normalised_match(a.text, q.wanted)) for probe, q, a in trios if probe.kind == kind
        )

    return value


def multihop(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of multi-hop questions answered right; NaN where no edit has any."""
    return edit_measure("multihop", _follows, MATCHED, now, before)


def neighbour_accuracy(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of the neighbours that are answered with the answer stated in the edit
    set; NaN where none is stated."""
    return edit_measure("neighbour_accuracy", _agrees, STATED, now, before)


def _follows(questions: EditQuestions, answers: EditAnswers) -> float:
    pairs = zip(answers.multihop, questions.multihop, strict=True)
    return mean(float(normalised_match(answer.text, question.wanted)) for answer, question in pairs)


def _agrees(questions: EditQuestions, answers: EditAnswers) -> float:
    pairs = zip(questions.stated, answers.neighbours, strict=True)
    return mean(float(normalised_match(answer.text, stated)) for stated, answer in pairs if stated)
