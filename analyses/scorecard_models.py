"""Does a scan predict beyond one model? Scorecards of several models, pooled.

    python -m analyses.scorecard_models runs/model-a runs/model-b runs/model-c

Every run is a finished `locscope search --scans all`. Runs of one model (by the hash of its
weights) count as one: their mean. A claim needs three models and a mean that holds over models: a
t-test on Fisher's scale, two-sided, as "points the wrong way" is a claim, too. That a variant tells
more than depth is claimed after that (one-sided). Holm's correction is over all claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from pathlib import Path

import numpy as np
from scipy import stats

from analyses.locator_scorecard import CONTROLS, Judged, Line, lines, report
from locscope.records.outcome import AS_DEPTH, CANNOT_TELL, DOES_NOT, PREDICTS
from locscope.report.data.words import interval, number
from locscope.scorecard.verdicts import ADDS, LEVEL, USEFUL, WRONG_WAY
from locscope.scoring.ranks import holm_in_turn
from locscope.scoring.statistics import Interval

CHANCE = ("random", "any order")
"""The row of random orders: nothing to test."""
FEWEST = 3
"""Models below which nothing is said."""
SUREST = 0.995
"""Correlations are taken to be below; Fisher's scale has no end at 1."""


@dataclass(frozen=True)
class Pooled:
    """One variant over models; p-values are not yet corrected, that of `within` is two-sided."""

    scan: str
    variant: str
    models: int
    predicts: int
    within: Interval
    added: Interval
    p_within: float
    p_added: float


@dataclass(frozen=True)
class Claim:
    """What may be said of a variant over models, after correction."""

    pooled: Pooled
    p_within: float
    p_more: float

    @property
    def opposed(self) -> bool:
        """Whether it points the wrong way."""
        return self.p_within < LEVEL and self.pooled.within.value < 0

    @property
    def verdict(self) -> str:
        """One of the verdicts on scans, over models."""
        one = self.pooled
        if one.models < FEWEST or isnan(one.within.low):
            return CANNOT_TELL
        if self.p_within < LEVEL and not self.opposed:
            more = self.p_more < LEVEL and one.added.value >= ADDS
            return PREDICTS if more else AS_DEPTH
        return DOES_NOT if self.opposed or one.within.high < USEFUL else CANNOT_TELL


def main() -> None:
    """Reads the runs and writes the report."""
    report(__doc__ or "", Path("reports/scorecard_models.md"), written)


def by_model(runs: Sequence[Judged]) -> dict[str, tuple[Judged, ...]]:
    """The runs of every model, by the hash of its weights."""
    hashes = dict.fromkeys(run.model_hash for run in runs)
    return {key: tuple(run for run in runs if run.model_hash == key) for key in hashes}


def pooled(runs: Sequence[Judged]) -> tuple[Pooled, ...]:
    """Every variant over models, each model with the mean of its runs."""
    models = [lines(some) for some in by_model(runs).values()]
    names = dict.fromkeys((one.scan, one.variant) for found in models for one in found)
    return tuple(_pooled(*name, models) for name in names if name != CHANCE)


def _pooled(scan: str, variant: str, models: Sequence[Sequence[Line]]) -> Pooled:
    mine = [one for found in models for one in found if (one.scan, one.variant) == (scan, variant)]
    mine = [one for one in mine if not isnan(one.mean("within"))]
    within = [one.mean("within") for one in mine]
    added = [share for one in mine if not isnan(share := one.mean("added"))]
    agreed = [one for one in mine if all(row.verdict == PREDICTS for row in one.rows)]
    return Pooled(
        scan,
        variant,
        models=len(mine),
        predicts=len(agreed),
        within=mean_correlation(within),
        added=mean_over(added),
        p_within=p_not_zero(within),
        p_added=p_above_zero(added),
    )


def mean_correlation(values: Sequence[float]) -> Interval:
    """The mean of correlations with Student's 95 % interval, both on Fisher's scale: where values
    are near 1 an interval of correlations themselves goes beyond it."""
    found = mean_over(fisher(values))
    value, low, high = np.tanh([found.value, found.low, found.high])
    return Interval(float(value), float(low), float(high), found.count)


def fisher(values: Sequence[float]) -> list[float]:
    """Correlations on Fisher's scale; those of 1, as few locations may give, count as `SUREST`."""
    return np.arctanh(np.clip(np.asarray(values, dtype=float), -SUREST, SUREST)).tolist()


def p_not_zero(correlations: Sequence[float]) -> float:
    """Two-sided t-test of a mean of zero on Fisher's scale; NaN below three values."""
    if not any(correlations):
        return nan if len(correlations) < FEWEST else 1.0
    above = p_above_zero(fisher(correlations))
    return 2 * min(above, 1 - above)


def mean_over(values: Sequence[float]) -> Interval:
    """The mean with Student's 95 % interval; no interval below three values."""
    count = len(values)
    if count < FEWEST:
        return Interval(float(np.mean(values)) if count else nan, nan, nan, count)
    half = float(stats.t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / sqrt(count)
    mean = float(np.mean(values))
    return Interval(mean, mean - half, mean + half, count)


def p_above_zero(values: Sequence[float]) -> float:
    """One-sided t-test of a mean above zero; NaN below three values."""
    if len(values) < FEWEST:
        return nan
    spread = float(np.std(values, ddof=1))
    if not spread:
        return float(np.mean(values) <= 0)
    return float(stats.t.sf(float(np.mean(values)) / spread * sqrt(len(values)), len(values) - 1))


def claims(found: Sequence[Pooled]) -> tuple[Claim, ...]:
    """What may be said of every variant, the surest first; Holm's correction over all of them."""
    more = [1.0 if isnan(one.p_added) else one.p_added for one in found]
    corrected = holm_in_turn([one.p_within for one in found], more)
    made = (Claim(one, p, q) for one, p, q in zip(found, *corrected, strict=True))
    return tuple(sorted(made, key=lambda claim: (isnan(claim.p_within), claim.p_within)))


def written(runs: Sequence[Judged]) -> str:
    """The report."""
    models = by_model(runs)
    made = claims(pooled(runs))
    told = [f"- {_sentence(claim)}" for claim in made if claim.pooled.scan not in CONTROLS]
    few = [f"Only {len(models)} models: nothing can be told beyond each of them."]
    return "\n".join(
        [
            "# Do scans predict beyond one model?",
            "",
            "`python -m analyses.scorecard_models`. A model counts once, with the mean of its "
            "runs; intervals are Student's over models, those of correlations on Fisher's scale; "
            "p-values are after Holm's correction for all claims. Models of one making, or tuned "
            "from one another, are less than independent: read the intervals as too narrow then.",
            "",
            *(f"- {some[0].model}: {len(some)} runs" for some in models.values()),
            "",
            "## What may be said",
            "",
            *(few if len(models) < FEWEST else told),
            "",
            "## All variants",
            "",
            "| scan | variant | models | predicts here on | within part | added R2 | p within "
            "| p beyond | over models |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(_row, made),
            "",
        ]
    )


def _row(claim: Claim) -> str:
    one = claim.pooled
    cells = (
        one.scan,
        one.variant,
        str(one.models),
        str(one.predicts),
        _spanned(one.within),
        _spanned(one.added),
        number(claim.p_within),
        number(claim.p_more),
        claim.verdict,
    )
    return "| " + " | ".join(cells) + " |"


def _sentence(claim: Claim) -> str:
    one = claim.pooled
    how = f"{claim.verdict} ({WRONG_WAY})" if claim.opposed else claim.verdict
    return (
        f"{one.scan} {one.variant}: {how} over {one.models} models (within a part "
        f"{_spanned(one.within)}; it predicts on {one.predicts} of them by itself)."
    )


def _spanned(one: Interval) -> str:
    return f"{number(one.value)} {interval(one.low, one.high)}".rstrip()


if __name__ == "__main__":
    main()
