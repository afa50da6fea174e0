"""Pooled perplexity on neutral text: exp of the mean token loss, tuned over untouched."""

from math import exp, inf, isnan, nan

from locscope.evaluation.suite import Evaluation
from locscope.records import Measure
from locscope.scoring.statistics import ratio_interval

PROTOCOL = "neutral texts with the tokenizer's special tokens, exp of pooled mean token loss"
_LARGEST = 709.0
"""Nats beyond which a double ends."""


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """The ratio (1 is untouched); `count` is in texts, the interval is a bootstrap over them."""
    tokens = now.drift.tokens
    if not tokens:
        return Measure("perplexity_ratio", nan, 0, PROTOCOL)
    pairs = zip(now.drift.losses, before.drift.losses, strict=True)
    interval = ratio_interval([after - untouched for after, untouched in pairs], tokens)
    return Measure(
        name="perplexity_ratio",
        value=_exp(interval.value),
        count=len(tokens),
        protocol=PROTOCOL,
        low=_exp(interval.low),
        high=_exp(interval.high),
        before=1.0,
    )


def _exp(nats: float) -> float:
    return exp(nats) if nats < _LARGEST or isnan(nats) else inf
