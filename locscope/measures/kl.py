"""KL drift: how far the next-token distribution on neutral text has moved."""

import numpy as np

from locscope.engine.exam import Observation
from locscope.records import Measure
from locscope.scoring.statistics import mean_interval

PROTOCOL = "KL(untouched || tuned) on neutral texts, nats per token, pooled"


def measure(now: Observation, before: Observation) -> Measure:  # noqa: ARG001
    """Mean over all tokens; `count` is in texts, the interval is a bootstrap over them."""
    tokens = np.array(now.drift.tokens, dtype=float)
    interval = mean_interval(list(np.array(now.drift.divergences) / tokens.mean()))
    value = float(np.sum(now.drift.divergences) / tokens.sum())
    return Measure("kl", value, len(tokens), PROTOCOL, interval.low, interval.high, before=0.0)
