"""Locality of the free continuation: does all that the untouched model went on to say come again?

Of a pretrained model that only completes texts, the tenth token is seldom the same after any tuning
(SmolLM2-135M: 0.0 to 0.08), so this says little there.
"""

from locscope.evaluation.measures.outcomes import edit_measure, mean
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure

PROTOCOL = (
    "greedy output up to its first stop token, newline or full stop, at most 10 tokens, "
    "same text as the untouched model's"
)


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share of neighbours in 0..1; NaN where no edit has neighbours."""
    return edit_measure("locality_span", _unchanged, PROTOCOL, now, before)


def _unchanged(asked: EditQuestions, said: EditAnswers) -> float:
    pairs = zip(said.neighbours, asked.neighbours, strict=True)
    return mean(float(answer.text == question.wanted) for answer, question in pairs)
