"""Pooled perplexity on neutral text: exp of the mean token loss, tuned over untouched."""

from math import exp

import numpy as np

from locscope.engine.exam import Observation
from locscope.engine.neutral import Drift
from locscope.records import Measure
from locscope.scoring.statistics import mean_interval

PROTOCOL = "neutral texts with the tokenizer's special tokens, exp of pooled mean token loss"


def measure(now: Observation, before: Observation) -> Measure:
    """The ratio (1 is untouched); `count` is in texts, the interval is a bootstrap over them."""
    tokens = np.array(now.drift.tokens, dtype=float)
    rise = np.array(now.drift.losses) - np.array(before.drift.losses)
    # A ratio of sums: each text's rise, weighted so that the plain mean is the pooled one.
    interval = mean_interval(list(rise / tokens.mean()))
    return Measure(
        name="perplexity_ratio",
        value=_pooled(now.drift) / _pooled(before.drift),
        count=len(tokens),
        protocol=PROTOCOL,
        low=_exp(interval.low),
        high=_exp(interval.high),
        before=1.0,
    )


def _pooled(drift: Drift) -> float:
    return _exp(sum(drift.losses) / sum(drift.tokens))


def _exp(nats: float) -> float:
    return exp(min(nats, 700.0))  # beyond it a double ends; a model this far gone is gone
