"""KL drift: how far the next-token distribution on neutral text has moved."""

from math import nan

from locscope.evaluation.suite import Evaluation
from locscope.records import Measure
from locscope.scoring.statistics import ratio_interval

PROTOCOL = "KL(untouched || tuned) on neutral texts, nats per token, pooled"


def measure(now: Evaluation, before: Evaluation) -> Measure:  # noqa: ARG001
    """Mean over all tokens; `count` is in texts, the interval is a bootstrap over them."""
    tokens = now.drift.tokens
    if not tokens:
        return Measure("kl", nan, 0, PROTOCOL)
    interval = ratio_interval(now.drift.divergences, tokens)
    return Measure(
        "kl", interval.value, len(tokens), PROTOCOL, interval.low, interval.high, before=0.0
    )
