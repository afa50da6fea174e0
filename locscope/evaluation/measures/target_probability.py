"""Target probability: how likely the new target is, token by token."""

from locscope.evaluation.measures.outcomes import edit_measure, target_probability
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = "teacher-forced, geometric mean over tokens"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean over edits, in 0..1."""
    return edit_measure("target_probability", target_probability, PROTOCOL, now, before)
