"""How far the scans can be trusted: did they predict what tuning then showed?

Single layers are compared within their part. There are two sources of doubt. One is which edits
were asked: a bootstrap over their groups makes scan and outcome again in every draw. The other is
which locations there are: runs of whole layers are shuffled, and random scores are drawn that are
as smooth over depth as the scan's, because parts of a layer and neighbours are not independent. A
scan predicts here, or points the wrong way, only if it passes all of these tests. Claims of all
kinds about all scans are corrected together by Holm's method: the chance that any of them is false
is at most 5 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from math import nan

import numpy as np
from numpy.typing import NDArray

from locscope.locations import Location
from locscope.records import ScanResult, ScanVerdict, Scorecard
from locscope.records.outcome import DOES_NOT
from locscope.scorecard.audit import (
    FULL_TERMS,
    QUICK_TERMS,
    Audit,
    Draws,
    Outcome,
    Ranking,
    draws_of,
    outcome_of,
    ranking_of,
)
from locscope.scorecard.regrets import TOPS, random_regrets, regrets
from locscope.scorecard.strata import STRATUM, Stratum, depth_of, field_of, ordered
from locscope.scorecard.verdicts import LEVEL, Grounds, judge
from locscope.scoring.ranks import (
    added_share,
    agreement,
    chance,
    holm_in_turn,
    mean_ranks,
    p_added,
    p_within,
)
from locscope.scoring.statistics import Interval

Values = NDArray[np.float64]
DRAWS = 1000
SHUFFLES = 9999
"""So many that the first step of Holm's correction for a hundred rows is within reach."""
_NONE = Interval(nan, nan, nan, 0)


def scorecard(
    scans: Sequence[ScanResult],
    audit: Audit,
    seed: int,
    *,
    draws: int = DRAWS,
    shuffles: int = SHUFFLES,
) -> Scorecard:
    """Every variant of every scan against the audit's trials, beside depth and random orders.

    Judged on quick evaluations, or on full trials where these cover as many locations. A location
    whose trial broke a bound is not one to tune at: it ranks below all that kept them, and is
    worth 0 in regret. Whether it broke one is taken as it is, not resampled.
    """
    drawn = draws_of(audit, scans, draws, seed)
    quick = outcome_of(audit.quick_trials, drawn, QUICK_TERMS)
    full = outcome_of(audit.full, drawn, FULL_TERMS)
    judged = full if len(full.locations) >= len(quick.locations) else quick
    rankings = [*_scanned(scans, judged, drawn), *_depths(audit, scans, judged)]
    # Most variants see the same locations: their shuffles are drawn once.
    field = cache(lambda seen: field_of(judged, np.frombuffer(seen, dtype=bool), shuffles, seed))
    # Bonferroni's share: how high chance may reach in the best of so many.
    share = LEVEL / len(rankings)
    evidence = [
        _evidence(ranking, judged, full, field(_seen(ranking, judged).tobytes()), share)
        for ranking in rankings
    ]
    whole = field(np.isfinite(judged.standing[0]).tobytes())
    match = _paired(quick.standing, quick.locations, full) if quick is judged else _NONE
    return Scorecard(
        outcome=_outcome_words(judged, quick),
        verdicts=(*_judged(evidence), _random(judged, whole, seed)),
        locations=len(judged.locations),
        edits=len(judged.edits),
        groups=len({drawn.column[edit] for edit in judged.edits}),
        violated=int(judged.violated.sum()),
        outcome_reliability=whole.outcome_reliability if whole else nan,
        looks_full=match.value,
        looks_full_low=match.low,
        looks_full_high=match.high,
        full_count=len(full.locations),
        notes=_notes(judged, evidence),
    )


def _scanned(scans: Sequence[ScanResult], judged: Outcome, drawn: Draws) -> Iterator[Ranking]:
    for scan in scans:
        for variant in scan.variants:
            yield ranking_of(scan, variant, judged.locations, drawn)


def _depths(audit: Audit, scans: Sequence[ScanResult], judged: Outcome) -> Iterator[Ranking]:
    scanned = {scan.descriptor.name for scan in scans if scan.scores}
    depth = np.array([depth_of(name) for name in judged.locations])
    every = np.ones((len(judged.standing), 1))
    if audit.rule and "depth-rule" not in scanned:
        nearness = -np.abs(depth - depth_of(audit.rule))
        yield Ranking("depth-rule", "nearness", every * nearness, False)
    yield Ranking("depth", "later is better", every * depth, False)


def _seen(ranking: Ranking, judged: Outcome) -> NDArray[np.bool_]:
    return np.isfinite(ranking.scores[0]) & np.isfinite(judged.standing[0])


def _evidence(
    ranking: Ranking, judged: Outcome, full: Outcome, field: Stratum | None, share: float
) -> Grounds:
    """What is known of one variant, whose share of the level is what chance may claim of it."""
    seen, utility = _seen(ranking, judged), judged.utility
    row = ScanVerdict(ranking.scan, ranking.variant, "", resampled=ranking.resampled)
    if seen.any():
        # Of all locations, also those that the scan cannot see: not to see the best one costs.
        best = np.where(np.isnan(utility), 0.0, utility).max(1)
        # One seed for all scans: ties of one are broken as those of another.
        lacks = regrets(ranking.scores[:, seen], utility[:, seen], best, seed=0)
        spans = [_interval(column) for column in lacks.T]
        row = _filled(row, **dict(zip(_regret_names(), spans, strict=True)))
        overall = _spearman(ranking.scores[:1, seen], judged.standing[:1, seen])
        row = replace(row, overall=float(overall[0]))
    paired = _paired(ranking.scores, judged.locations, full)
    row = replace(_filled(row, full=paired), full_count=paired.count)
    return Grounds(row) if field is None else _tested(row, ranking, field, share)


def _tested(row: ScanVerdict, ranking: Ranking, field: Stratum, share: float) -> Grounds:
    x, order = ordered(ranking.scores[:, field.columns], field.strata), field.order[0]
    smooth = field.smooth(x[0])
    by_chance = (chance(x[0], field.shuffled), *(agreement(scores, order) for scores in smooth))
    row = replace(
        row,
        count=len(field.columns),
        p_within=p_within(x[0], order, field.shuffled, smooth),
        p_added=p_added(x[0], order, field.trend, field.residuals),
        score_only=float(agreement(x[0], field.score_only)),
    )
    return Grounds(
        _filled(
            row,
            within=_interval(agreement(x, field.order)),
            added=_interval(added_share(x, field.order, field.trend)),
        ),
        chance=max(float(np.quantile(np.abs(draws), 1 - share)) for draws in by_chance),
        outcome_reliability=field.outcome_reliability,
    )


def _judged(evidence: Sequence[Grounds]) -> Iterator[ScanVerdict]:
    """The rows with corrected p-values and verdicts."""
    # That a scan tells more than depth is claimed only after that it tells anything at all.
    corrected = holm_in_turn(
        [each.row.p_within for each in evidence], [each.row.p_added for each in evidence]
    )
    for each, p_order, p_more in zip(evidence, *corrected, strict=True):
        row = replace(each.row, p_within=p_order, p_added=p_more)
        yield judge(replace(each, row=row))


def _random(judged: Outcome, field: Stratum | None, seed: int) -> ScanVerdict:
    """What random orders give: their mean, and where 95 % of them lie."""
    words = f"{DOES_NOT}: this is chance, with intervals over random orders"
    row = ScanVerdict("random", "any order", DOES_NOT, words)
    utility = judged.utility[0][np.isfinite(judged.utility[0])]
    if utility.size:
        spans = [_spread(column) for column in random_regrets(utility, 4 * DRAWS, seed).T]
        row = _filled(row, **dict(zip(_regret_names(), spans, strict=True)))
    if field is None:
        return row
    orders, order = field.shuffled, field.order[0]
    row = _filled(
        row,
        within=_spread(agreement(orders, order)),
        added=_spread(added_share(orders, order, field.trend)),
    )
    return replace(row, count=len(field.columns))


def _paired(values: Values, locations: Sequence[Location], full: Outcome) -> Interval:
    """Spearman's correlation, parts mixed, with the full trials of the same locations."""
    where = {name: i for i, name in enumerate(locations)}
    pairs = [(where[name], i) for i, name in enumerate(full.locations) if name in where]
    pairs = [(i, j) for i, j in pairs if np.isfinite(values[0, i])]
    if len(pairs) < STRATUM:
        return Interval(nan, nan, nan, len(pairs))
    mine, theirs = (list(side) for side in zip(*pairs, strict=True))
    interval = _interval(_spearman(values[:, mine], full.standing[:, theirs]))
    return replace(interval, count=len(pairs))


def _spearman(x: Values, y: Values) -> Values:
    """Of every row; a row with a NaN is NaN."""
    complete = ~(np.isnan(x).any(1) | np.isnan(y).any(1))
    centred = (mean_ranks(side) - (side.shape[1] + 1) / 2 for side in (x, y))
    return np.where(complete, agreement(*centred), nan)


def _interval(drawn: Values) -> Interval:
    """The first value, with where 95 % of the others lie and itself; none if half are missing.

    Of correlations it is the same on Fisher's scale, as percentiles do not depend on the scale:
    such an interval cannot leave what values there can be.
    """
    value, measured = float(drawn[0]), drawn[1:][~np.isnan(drawn[1:])]
    if np.isnan(value) or 2 * measured.size <= len(drawn) - 1:
        return Interval(value, nan, nan, len(drawn))
    low, high = np.quantile(measured, [0.025, 0.975])
    # Draws of edits add noise of their own, which may carry the whole interval towards zero.
    return Interval(value, min(float(low), value), max(float(high), value), len(drawn))


def _spread(values: Values) -> Interval:
    """The mean, and where 95 % of the values lie."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def _filled(row: ScanVerdict, **spans: Interval) -> ScanVerdict:
    """The row with the value and the bounds of every interval, in the fields of that name."""
    fields = {}
    for name, span in spans.items():
        fields |= {name: span.value, f"{name}_low": span.low, f"{name}_high": span.high}
    return replace(row, **fields)


def _regret_names() -> tuple[str, ...]:
    return tuple(f"regret_{top}" for top in TOPS)


def _outcome_words(judged: Outcome, quick: Outcome) -> str:
    terms = ", ".join(term.replace("_", " ") for term in judged.terms) or "nothing measured"
    when = "at rung 1, of every candidate" if judged is quick else "after a full trial"
    return f"harmonic mean of {terms}, {when}; a location that broke a bound ranks below all others"


def _notes(judged: Outcome, evidence: Sequence[Grounds]) -> tuple[str, ...]:
    notes = []
    broke = int(judged.violated.sum())
    if broke:
        notes.append(f"{broke} of {len(judged.locations)} locations broke a bound: last, worth 0")
    fixed = [each.row for each in evidence if not each.row.resampled]
    names = dict.fromkeys(f"{row.scan} {row.variant}" for row in fixed)
    if names:
        notes.append(f"no means over requests, so held fixed in the bootstrap: {', '.join(names)}")
    return tuple(notes)
