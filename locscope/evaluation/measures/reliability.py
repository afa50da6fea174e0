"""Reliability: is the edit's own prompt answered with the new target?"""

from locscope.evaluation.measures.outcomes import edit_measure, reliable
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = "greedy output up to its first stop token, newline or full stop, normalised match"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Share of edits in 0..1."""
    return edit_measure("reliability", reliable, PROTOCOL, now, before)
