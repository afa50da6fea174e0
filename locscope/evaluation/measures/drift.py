"""How far has the rest of the model moved? Neutral texts, and tasks apart from the edits."""

from math import exp, inf, isnan, nan

from locscope.evaluation.measures.outcomes import mean
from locscope.evaluation.suite import Evaluation
from locscope.records import Measure
from locscope.scoring.statistics import chance_corrected, mean_interval, ratio_interval
from locscope.scoring.text import normalised_match

POOLED = "neutral texts with the tokenizer's special tokens, exp of pooled mean token loss"
BY_SENTENCE = (
    "neutral texts without BOS, arithmetic mean of exp(mean loss of tokens 2..T): the least likely "
    "texts decide it, so it may fall where the pooled ratio rises"
)
DIVERGENCE = "KL(untouched || tuned) on neutral texts, nats per token, pooled"
ABILITIES = (
    "greedy output, normalised match; accuracy less chance, over that of the untouched model"
)
_LARGEST = 709.0
"""Nats whose exp still fits a double."""


def perplexity_ratio(now: Evaluation, before: Evaluation) -> Measure:
    """Pooled perplexity, tuned over untouched (1 is untouched).

    `count` is in texts, the interval is a bootstrap over them.
    """
    tokens = now.drift.tokens
    if not tokens:
        return Measure("perplexity_ratio", nan, 0, POOLED)
    pairs = zip(now.drift.losses, before.drift.losses, strict=True)
    # Subtracted text by text before texts are drawn: a pair varies far less than its two sides.
    interval = ratio_interval([after - untouched for after, untouched in pairs], tokens)
    return Measure(
        name="perplexity_ratio",
        value=_exp(interval.value),
        count=len(tokens),
        protocol=POOLED,
        low=_exp(interval.low),
        high=_exp(interval.high),
        before=1.0,
    )


def mean_perplexity_ratio(now: Evaluation, before: Evaluation) -> Measure:
    """The mean of the sentences' perplexities, tuned over untouched (ME-PPL, arXiv 2402.09656).

    One bad sentence dominates it.
    """
    perplexities = now.drift.perplexities
    if not perplexities:
        return Measure("mean_perplexity_ratio", nan, 0, BY_SENTENCE)
    # Of as many texts, so the ratio of means is that of sums; a perplexity is never 0.
    ratio = sum(perplexities) / sum(before.drift.perplexities)
    return Measure("mean_perplexity_ratio", ratio, len(perplexities), BY_SENTENCE, before=1.0)


def kl(now: Evaluation, before: Evaluation) -> Measure:  # noqa: ARG001
    """KL drift of the next-token distribution: mean over all tokens, in nats.

    `count` is in texts, the interval is a bootstrap over them.
    """
    tokens = now.drift.tokens
    if not tokens:
        return Measure("kl", nan, 0, DIVERGENCE)
    interval = ratio_interval(now.drift.divergences, tokens)
    return Measure(
        "kl", interval.value, len(tokens), DIVERGENCE, interval.low, interval.high, before=0.0
    )


def retention(now: Evaluation, before: Evaluation) -> Measure:
    """Accuracy above chance on the abilities, tuned over untouched (1 is untouched).

    NaN without abilities or where the untouched model has none. `count` is in items; the interval
    is a bootstrap over them for a known untouched accuracy.
    """
    able = _above_chance(before)
    base = mean(able)
    # Not `<=`: without abilities it is NaN.
    if not base > 0:
        return Measure("retention", nan, 0, ABILITIES)
    interval = mean_interval([value / base for value in _above_chance(now)])
    low, high = interval.low, interval.high
    return Measure("retention", interval.value, len(able), ABILITIES, low, high, before=1.0)


def _exp(nats: float) -> float:
    return exp(nats) if nats < _LARGEST or isnan(nats) else inf


def _above_chance(evaluation: Evaluation) -> list[float]:
    trios = zip(
        evaluation.ability_items, evaluation.abilities, evaluation.right_abilities, strict=True
    )
    return [
        chance_corrected(float(normalised_match(answer.text, right)), item.chance)
        for item, answer, right in trios
    ]
