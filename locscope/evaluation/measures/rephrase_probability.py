"""Rephrase probability: how likely the new target is after the edit's rephrases."""

from locscope.evaluation.measures.outcomes import edit_measure, rephrase_probability
from locscope.evaluation.measures.target_probability import PROTOCOL
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean over edits, in 0..1; NaN where no edit has rephrases."""
    return edit_measure("rephrase_probability", rephrase_probability, PROTOCOL, now, before)
