"""The mean of per-sentence perplexities, as in ME-PPL: one bad sentence dominates it."""

from math import nan

import numpy as np

from locscope.engine.exam import Observation
from locscope.records import Measure

PROTOCOL = "neutral texts without BOS, arithmetic mean of exp(mean loss of tokens 2..T)"


def measure(now: Observation, before: Observation) -> Measure:
    """The tuned mean over the untouched one (arXiv 2402.09656, `ppl.py`)."""
    means = [float(np.mean(seen.drift.perplexities)) for seen in (now, before)]
    ratio = means[0] / means[1] if means[1] > 0 else nan
    return Measure(
        "mean_perplexity_ratio", ratio, len(now.drift.perplexities), PROTOCOL, before=1.0
    )
