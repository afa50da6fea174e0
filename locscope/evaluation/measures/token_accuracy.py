"""Teacher-forced token accuracy, under its own name because it is not reliability."""

from locscope.evaluation.measures.outcomes import edit_measure
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure

PROTOCOL = "arg-max at each token of target and stop, given the true tokens before it"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share of tokens in 0..1."""
    return edit_measure("token_accuracy", _accuracy, PROTOCOL, now, before)


def _accuracy(_: EditQuestions, said: EditAnswers) -> float:
    return said.target.token_accuracy
