"""Agreement of the neighbours' answers with those that the edit set states."""

from locscope.evaluation.measures.outcomes import edit_measure, mean
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure
from locscope.scoring.text import normalised_match

PROTOCOL = "greedy output of neighbours, at most 10 tokens, normalised match with the stated answer"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of the neighbours that state an answer; NaN without any."""
    return edit_measure("neighbour_accuracy", _agrees, PROTOCOL, now, before)


def _agrees(asked: EditQuestions, said: EditAnswers) -> float:
    pairs = zip(asked.stated, said.neighbours, strict=True)
    return mean(float(normalised_match(answer.text, stated)) for stated, answer in pairs if stated)
