"""Bounds: what a measure must be at most or at least, read, kept or broken, and by how much."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan, log, nan
from typing import Literal

from locscope.errors import UsageError, unknown
from locscope.records import Measure

SHARES = (
    *("reliability", "reliability_strict", "generalization", "locality", "locality_span"),
    *("locality_tokens", "format_leakage"),
    *("neighbour_accuracy", "token_accuracy", "target_probability", "rephrase_probability"),
    *("neighbour_kept", "forms", "multihop"),
)
"""Measures from 0 to 1."""
RATIOS = ("perplexity_ratio", "mean_perplexity_ratio")
RATIO = 1.1
"""What the pooled perplexity ratio may be by default: up to there SmolLM2-135M kept 99 % of small
abilities on average (`reports/sweep-smollm2-24-edits.md`). That is no law: at one ratio low layers
lost more of them (9 % at worst) than high ones."""
COLLAPSE = (*RATIOS, "kl", "retention")
"""Measures of what becomes of the rest of the model."""
BOUNDABLE = (*SHARES, *COLLAPSE)
"""Every measure of the package (a test holds this against their table)."""
REGISTERED: set[str] = set()
"""Measures that were added at run time: this layer knows no table of them."""
SIDES: dict[str, Literal["at most", "at least"]] = {"<=": "at most", ">=": "at least"}
_BOUND = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([\w.+-]+?)\s*(\bsurely)?\s*")


@dataclass(frozen=True)
class Bound:
    """A measure must be at most or at least a limit.

    With `sure` it is broken only where the whole interval lies beyond the limit. One that is
    `needed` (somebody asked for it, or the objective is nothing without it) must be measurable.
    """

    measure: str
    side: Literal["at most", "at least"]
    limit: float
    sure: bool = False
    needed: bool = False

    def __str__(self) -> str:
        """As one writes it: `retention>=0.95 surely`."""
        sign = next(sign for sign, side in SIDES.items() if side == self.side)
        return f"{self.measure}{sign}{self.limit:g}{' surely' if self.sure else ''}"


def boundable() -> tuple[str, ...]:
    """The measures that a bound may name."""
    return (*BOUNDABLE, *sorted(REGISTERED))


def bound_of(text: str) -> Bound:
    """The needed bound that is written `MEASURE<=NUMBER` or `MEASURE>=NUMBER`, or ` surely` after.

    A limit of inf asks for nothing: so the objective's own bound is dropped. A UsageError says what
    cannot be read, or that the limit is none for a share.
    """
    match = _BOUND.fullmatch(text)
    limit = _number(match[3]) if match else None
    if match is None or limit is None:
        raise UsageError(
            f"cannot read bound '{text}': write it as perplexity_ratio<=1.05 or retention>=0.9, "
            "with ' surely' after it where only the whole interval beyond the limit shall count"
        )
    if match[1] not in boundable():
        raise unknown("measure", match[1], boundable())
    if match[1] in SHARES and not 0 <= limit <= 1:
        raise UsageError(f"bound '{text}': {match[1]} is a share from 0 to 1; write 0.95 for 95 %")
    return Bound(match[1], SIDES[match[2]], limit, sure=bool(match[4]), needed=True)


def tightened(bound: Bound, bound_margin: float) -> Bound:
    """The bound with a share of what it allows left free, where it is one on drift.

    Of a perplexity ratio in logarithms, so of nats as for KL. Other bounds stay as they are: shares
    of few items would be met by chance only.
    """
    if bound.side != "at most" or bound.limit == inf:
        return bound
    if bound.measure == "kl":
        return replace(bound, limit=bound.limit * (1 - bound_margin))
    if bound.measure in RATIOS and bound.limit > 1:
        # A ratio is the exponential of nats a token: a share of the nats is a power of the ratio.
        return replace(bound, limit=bound.limit ** (1 - bound_margin))
    return bound


def violations(measures: Sequence[Measure], bounds: Sequence[Bound]) -> tuple[str, ...]:
    """A sentence for every bound that is broken. What was not measured breaks none.

    A measure that judged items and still has no number breaks its bound: a model whose loss is
    not finite has collapsed.
    """
    broken = []
    for bound in bounds:
        measure = named(measures, bound.measure)
        if measure is None or not miss(measure, bound):
            continue
        if isnan(measure.value):
            broken.append(f"{measure.name} of {measure.count} items is not a finite number")
        else:
            broken.append(_sentence(measure, bound))
    return tuple(broken)


def shortfall(measures: Sequence[Measure], bounds: Iterable[Bound]) -> float:
    """How far from keeping all bounds: what each is missed by over its limit, summed.

    0 where none is broken, infinite where one is missed by no finite number. Over the limit, for a
    miss of 0.01 is little to a perplexity ratio and much to a KL divergence.
    """
    pairs = ((named(measures, bound.measure), bound) for bound in bounds)
    return float(sum(miss(measure, bound) for measure, bound in pairs if measure is not None))


def ratio_limit(bounds: Iterable[Bound]) -> float:
    """The most that the pooled perplexity ratio may be, NaN where no bound says so."""
    upper = (bound for bound in bounds if bound.measure == RATIOS[0] and _forbids_loss(bound))
    return min((bound.limit for bound in upper), default=nan)


def headroom(measures: Sequence[Measure], bounds: Iterable[Bound]) -> float:
    """What bounds on collapse allow over what was lost: below 1 where one is broken.

    The smallest of all, of a perplexity ratio in logarithms, as of nats; infinite where nothing was
    lost, NaN where no such bound was measured. Bounds that ask for a loss have no say.
    """
    pairs = ((named(measures, bound.measure), bound) for bound in bounds if _forbids_loss(bound))
    shares = [_headroom(measure, bound) for measure, bound in pairs if measure is not None]
    return min((share for share in shares if not isnan(share)), default=nan)


def _forbids_loss(bound: Bound) -> bool:
    # A bound such as kl>=1 asks for a loss: it is no limit to stay below.
    harmless = "at least" if bound.measure == "retention" else "at most"
    return bound.measure in COLLAPSE and bound.side == harmless


def _headroom(measure: Measure, bound: Bound) -> float:
    if isnan(measure.value):
        return 0.0 if measure.count else nan
    seen, allowed = _lost(bound, _judged(measure, bound)), _lost(bound, bound.limit)
    if seen > 0:
        return max(0.0, allowed) / seen
    # A limit may ask for more than nothing lost.
    return 0.0 if miss(measure, bound) else inf


def _lost(bound: Bound, value: float) -> float:
    """How much worse a value is than that of the untouched model, which is 0 of KL and else 1."""
    if bound.measure in RATIOS:
        return log(value) if value > 0 else 0.0
    return value if bound.measure == "kl" else 1 - value


def mendable(measures: Sequence[Measure], bounds: Iterable[Bound]) -> bool:
    """Whether nothing is broken that a lower learning rate does not keep."""
    # A lower rate loses less of the model; it does not learn more of the edits.
    others = [bound for bound in bounds if not _forbids_loss(bound)]
    return shortfall(measures, others) == 0


def crossing(
    keeping: Sequence[Measure], breaking: Sequence[Measure], bounds: Iterable[Bound]
) -> float:
    """How far on the way from measures that keep the bounds to others the first limit is met.

    A share of the way, along which every measure is taken to go straight; 1 where none is broken
    and 0 where no finite number tells.
    """
    shares = [1.0]
    for bound in bounds:
        here, there = named(keeping, bound.measure), named(breaking, bound.measure)
        if here is None or there is None or not miss(there, bound):
            continue
        start, way = _judged(here, bound), _judged(there, bound) - _judged(here, bound)
        shares.append((bound.limit - start) / way if way and isfinite(way) else 0.0)
    # The first limit on the way is the one that stops.
    return max(0.0, min(shares))


def miss(measure: Measure, bound: Bound) -> float:
    """What the bound is missed by, as a share of its limit; 0 where it is kept or not measured."""
    if isnan(measure.value):
        # Items were judged and gave no number: the loss overflowed.
        return inf if measure.count else 0.0
    beyond = _judged(measure, bound) - bound.limit
    beyond = beyond if bound.side == "at most" else -beyond
    return beyond / (abs(bound.limit) or 1.0) if beyond > 0 else 0.0


def named(measures: Iterable[Measure], name: str) -> Measure | None:
    """The first measure of that name, if any: protocols are never mixed."""
    return next((measure for measure in measures if measure.name == name), None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # float() reads 'nan', to which nothing compares.
    return None if isnan(value) else value


def _judged(measure: Measure, bound: Bound) -> float:
    """The number held against the limit: with `sure` the end of the interval that is nearest."""
    end = measure.low if bound.side == "at most" else measure.high
    return end if bound.sure and not isnan(end) else measure.value


def _sentence(measure: Measure, bound: Bound) -> str:
    side = "above" if bound.side == "at most" else "below"
    end = _judged(measure, bound)
    words = "at least" if bound.side == "at most" else "at most"
    interval = "" if end == measure.value else f" ({words} {end:.3g})"
    return f"{measure.name} {measure.value:.4g}{interval} is {side} {bound.limit:g}"
