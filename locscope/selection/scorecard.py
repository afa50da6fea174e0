"""How far the scans can be trusted: did they predict what tuning then showed?"""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import numpy as np

from locscope.locations import Location
from locscope.records import ScanResult, ScanVerdict, Scorecard, TrialRecord
from locscope.scoring.statistics import spearman

DRAWS = 1000
Place = tuple[int, str]


def scorecard(scans: Sequence[ScanResult], trials: Sequence[TrialRecord], seed: int) -> Scorecard:
    """Every variant of every scan against the trials of the sweep, beside depth and chance.

    Outcome is the trial's score at the one starting rate. Intervals are bootstraps over locations.
    """
    outcome = {_place(record): record.score for record in trials}
    rng = np.random.default_rng(seed)
    rankings: dict[tuple[str, str], dict[Place, float]] = {
        (scan.descriptor.name, variant): _scores(scan, variant)
        for scan in scans
        for variant in scan.variants
    }
    rankings["depth", "later is better"] = {place: float(place[0]) for place in outcome}
    null = {place: float(rng.random()) for place in outcome}
    rankings.setdefault(("random", "uniform"), null)
    verdicts = [_verdict(name, scores, outcome, rng) for name, scores in rankings.items()]
    return Scorecard("score at the starting rate, on S", tuple(verdicts))


def _place(record: TrialRecord) -> Place:
    site = Location.parse(record.trial.location).sites[0]
    return site.first, site.part


def _scores(scan: ScanResult, variant: str) -> dict[Place, float]:
    sign = scan.descriptor.sign
    return {place: sign * score.score for place, score in scan.of_places(variant).items()}


def _verdict(
    name: tuple[str, str],
    scores: Mapping[Place, float],
    outcome: Mapping[Place, float],
    rng: np.random.Generator,
) -> ScanVerdict:
    places = [p for p in outcome if not isnan(outcome[p]) and not isnan(scores.get(p, nan))]
    x = np.array([scores[place] for place in places])
    y = np.array([outcome[place] for place in places])
    low, high = _interval(x, y, rng)
    return ScanVerdict(
        scan=name[0],
        variant=name[1],
        rank=spearman(x, y),
        low=low,
        high=high,
        within_part=_within_part(places, x, y),
        regret=float(y.max() - y[int(x.argmax())]) if places else nan,
        count=len(places),
        verdict=_words(low, high),
    )


def _interval(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    if len(x) < 5:
        return nan, nan
    draws = [spearman(x[some], y[some]) for some in rng.integers(0, len(x), (DRAWS, len(x)))]
    measured = [draw for draw in draws if not isnan(draw)]
    if not measured:
        return nan, nan
    low, high = np.quantile(measured, [0.025, 0.975])
    return float(low), float(high)


def _within_part(places: Sequence[Place], x: np.ndarray, y: np.ndarray) -> float:
    parts = sorted({part for _, part in places})
    masks = [np.array([part == place[1] for place in places]) for part in parts]
    ranks = [spearman(x[mask], y[mask]) for mask in masks]
    measured = [rank for rank in ranks if not isnan(rank)]
    return float(np.mean(measured)) if measured else nan


def _words(low: float, high: float) -> str:
    if isnan(low):
        return "cannot tell"
    if low > 0:
        return "predicts here"
    return "does not" if high < 0.3 else "cannot tell"
