"""Generalization: are the edit's rephrases answered with the new target?"""

from locscope.evaluation.measures.outcomes import edit_measure, general
from locscope.evaluation.measures.reliability import PROTOCOL
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share of rephrases in 0..1; NaN where no edit has rephrases."""
    return edit_measure("generalization", general, PROTOCOL, now, before)
