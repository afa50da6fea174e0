"""Neighbours kept: how much of the untouched answers' probability is left."""

from locscope.evaluation.measures.outcomes import mean_measure, neighbour_kept
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = "min(1, p/p0) of the untouched tokens that locality compares, geometric mean over them"


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean over edits, in 0..1; NaN where no edit has neighbours."""
    pairs = zip(now.edits, before.edits, strict=True)
    values = [neighbour_kept(said, untouched) for said, untouched in pairs]
    untouched = [neighbour_kept(said, said) for said in before.edits]
    return mean_measure("neighbour_kept", values, untouched, PROTOCOL, now)
