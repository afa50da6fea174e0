"""Other forms of an edit (question, multiple choice): the share right in the worst of them."""

from math import isnan, nan

from locscope.evaluation.measures.outcomes import EditValue, edit_measure, mean
from locscope.evaluation.measures.reliability import PROTOCOL
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure
from locscope.scoring.text import normalised_match


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Share in 0..1 of the form that does worst (arXiv 2506.07795); NaN where no edit has forms."""
    kinds = sorted({probe.kind for asked in now.questions for probe in asked.edit.forms})
    found = [
        edit_measure("forms", right_in(kind), f"{kind}; {PROTOCOL}", now, before) for kind in kinds
    ]
    measured = [one for one in found if not isnan(one.value)]
    return min(measured, key=lambda one: one.value, default=Measure("forms", nan, 0, PROTOCOL))


def right_in(kind: str) -> EditValue:
    """Share of an edit's forms of that kind answered with the new target; NaN without any."""

    def value(asked: EditQuestions, said: EditAnswers) -> float:
        asked_forms = asked.edit.forms if asked.forms else ()
        trios = zip(asked_forms, asked.forms, said.forms, strict=True)
        return mean(
            float(normalised_match(a.text, q.wanted)) for probe, q, a in trios if probe.kind == kind
        )

    return value
