"""Locality: are the neighbours still answered as before?"""

from locscope.evaluation.measures.outcomes import edit_measure, local
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = (
    "greedy tokens equal to the untouched model's over the length of the stated answer; without "
    "one, up to the untouched model's first stop token, newline or punctuation mark, at most 10 "
    "tokens"
)


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share of neighbours in 0..1; NaN where no edit has neighbours."""
    return edit_measure("locality", local, PROTOCOL, now, before)
