"""Locality: are the neighbours still answered as before?"""

from locscope.engine.exam import Observation
from locscope.measures.outcomes import edit_measure, local
from locscope.records import Measure

PROTOCOL = (
    "greedy output up to its first stop token, newline or full stop, at most 10 tokens, "
    "same text as the untouched model's"
)


def measure(now: Observation, before: Observation) -> Measure:
    """Mean share of neighbours in 0..1; NaN where no edit has neighbours."""
    return edit_measure("locality", local, PROTOCOL, now, before)
