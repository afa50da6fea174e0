"""Generalization: are the edit's rephrases answered with the new target?"""

from locscope.engine.exam import Observation
from locscope.measures.outcomes import edit_measure, general
from locscope.measures.reliability import PROTOCOL
from locscope.records import Measure


def measure(now: Observation, before: Observation) -> Measure:
    """Mean share of rephrases in 0..1; NaN where no edit has rephrases."""
    return edit_measure("generalization", general, PROTOCOL, now, before)
