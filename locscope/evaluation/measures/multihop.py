"""Multi-hop: does what follows from the edit hold too?"""

from locscope.evaluation.measures.outcomes import edit_measure, mean
from locscope.evaluation.measures.reliability import PROTOCOL
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure
from locscope.scoring.text import normalised_match


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share of multi-hop questions in 0..1; NaN where no edit has any."""
    return edit_measure("multihop", _follows, PROTOCOL, now, before)


def _follows(asked: EditQuestions, said: EditAnswers) -> float:
    pairs = zip(said.multihop, asked.multihop, strict=True)
    return mean(float(normalised_match(answer.text, question.wanted)) for answer, question in pairs)
