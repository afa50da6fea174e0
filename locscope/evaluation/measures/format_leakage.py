"""Format leakage: tuned on targets that stop at once, does the model now stop everywhere?"""

from locscope.evaluation.measures.outcomes import edit_measure, mean
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure

PROTOCOL = "neighbours where the untouched model went on after its answer and the tuned one stops"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of the neighbours where the untouched model went on; NaN without any."""
    return edit_measure("format_leakage", _leaked, PROTOCOL, now, before)


def _leaked(asked: EditQuestions, said: EditAnswers) -> float:
    pairs = zip(asked.spoke_on, said.neighbours, strict=True)
    return mean(float(answer.ending == "stop") for spoke_on, answer in pairs if spoke_on)
