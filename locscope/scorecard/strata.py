"""Which locations a scan is judged on, and how tuning ordered them within their part."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from locscope.locations import Location
from locscope.scorecard.audit import Outcome
from locscope.scorecard.verdicts import FEWEST
from locscope.scoring.ranks import (
    Indices,
    Strata,
    agreement,
    ranks_within,
    shuffled_ranks,
    shuffled_residuals,
    shuffles_of,
    strata_of,
    trend_of,
)
from locscope.scoring.smooth import smooth_ranks

Values = NDArray[np.float64]
STRATUM = 3
"""Fewer locations of a part have no order to speak of."""
_MOST = 2_000_000
"""Shuffled ranks held at a time (16 MB)."""


@dataclass(frozen=True)
class Stratum:
    """Locations compared: columns of the outcome, and how these came out.

    `order`, shape (1 + draws, columns), are the outcome's ranks within strata, `score_only` those
    of the measured scores, broken bounds aside. `shuffled` and `residuals`, shape (shuffles,
    columns), are what chance makes of the order; `seed` is that of chance. `trend`, shape (columns,
    terms), spans the powers of depth; `blocks` names the columns that shuffles move together.
    """

    columns: Indices
    strata: Strata
    trend: Values
    blocks: Indices
    order: Values
    score_only: Values
    shuffled: Values
    residuals: Values
    seed: int

    def smooth(self, ranks: Values) -> tuple[Values, ...]:
        """As many random orders as shuffles, as smooth over depth as these ranks are by one measure
        or another."""
        # A stream of its own, so that it does not repeat the numbers of the shuffles.
        rng = np.random.default_rng([self.seed, 1])
        return smooth_ranks(ranks, self.strata, self.blocks, len(self.shuffled), rng)

    @property
    def outcome_reliability(self) -> float:
        """How well the order agrees with those of other draws of edits; NaN without draws."""
        by_draw = agreement(self.order[1:], self.order[0])
        by_draw = by_draw[~np.isnan(by_draw)]
        return float(by_draw.mean()) if by_draw.size else nan


def field_of(judged: Outcome, seen: NDArray[np.bool_], shuffles: int, seed: int) -> Stratum | None:
    """The locations seen whose stratum has an order; None where these are too few.

    A stratum are the single layers of a part. Ranges of layers hold layers that are there by
    themselves, so they are no evidence of their own. Shuffles move whole layers.
    """
    labels = [stratum_of(name) for name in judged.locations]
    sizes = {name: sum(seen[i] for i, x in enumerate(labels) if x == name) for name in labels}
    compared = [i for i, name in enumerate(labels) if name and seen[i] and sizes[name] >= STRATUM]
    if len(compared) < FEWEST:
        return None
    columns, names = np.array(compared), [judged.locations[i] for i in compared]
    depths, blocks = [depth_of(name) for name in names], np.array([name.lowest for name in names])
    strata = strata_of([labels[i] for i in compared], depths, blocks)
    trend = trend_of(strata, depths)
    order = ordered(judged.standing[:, columns], strata)
    # Of many columns fewer shuffles, so that memory is bounded.
    count = min(shuffles, _MOST // len(compared))
    shuffles_drawn = shuffles_of(strata, blocks, count, np.random.default_rng(seed))
    return Stratum(
        columns=columns,
        strata=strata,
        trend=trend,
        blocks=blocks,
        order=order,
        score_only=ranks_within(judged.score[0, columns], strata),
        shuffled=shuffled_ranks(order[0], shuffles_drawn),
        residuals=shuffled_residuals(order[0], trend, shuffles_drawn),
        seed=seed,
    )


def ordered(values: Values, strata: Strata) -> Values:
    """Ranks within strata; a row with a NaN is NaN."""
    ranks = ranks_within(values, strata)
    ranks[np.isnan(values).any(1)] = nan
    return ranks


def depth_of(location: Location) -> float:
    """The mean layer of a location."""
    sites = location.sites
    return float(np.mean([n for site in sites for n in range(site.first, site.last + 1)]))


def stratum_of(location: Location) -> str:
    """The parts of a location, which it is compared within; empty where it spans several layers, or
    is heads of them."""
    if location.lowest != location.highest or any(site.head is not None for site in location.sites):
        return ""
    # Sorted: a location may name its parts in any order.
    return "+".join(sorted(site.part for site in location.sites))
