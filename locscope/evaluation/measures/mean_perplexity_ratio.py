"""The mean of per-sentence perplexities, as in ME-PPL: one bad sentence dominates it."""

from math import nan

from locscope.evaluation.suite import Evaluation
from locscope.records import Measure

PROTOCOL = (
    "neutral texts without BOS, arithmetic mean of exp(mean loss of tokens 2..T): the least likely "
    "texts decide it, so it may fall where the pooled ratio rises"
)


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """The tuned mean over the untouched one (arXiv 2402.09656, `ppl.py`)."""
    found = now.drift.perplexities
    if not found:
        return Measure("mean_perplexity_ratio", nan, 0, PROTOCOL)
    # Of as many texts, so the ratio of means is that of sums; a perplexity is never 0.
    ratio = sum(found) / sum(before.drift.perplexities)
    return Measure("mean_perplexity_ratio", ratio, len(found), PROTOCOL, before=1.0)
