"""Strict reliability: exactly the target's tokens, and then a stop token."""

from locscope.evaluation.measures.outcomes import edit_measure, strictly_reliable
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = "greedy tokens equal target and stop token"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Share of edits in 0..1."""
    return edit_measure("reliability_strict", strictly_reliable, PROTOCOL, now, before)
