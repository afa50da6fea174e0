"""What scans are judged by: trials of locations drawn before any scan was read, resampled by
edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isnan, nan

import numpy as np
from numpy.typing import NDArray

from locscope.locations import Location
from locscope.records import EditOutcome, ScanResult, TrialRecord
from locscope.scoring.objectives import QUICK

Values = NDArray[np.float64]
QUICK_TERMS, FULL_TERMS = tuple(QUICK.values()), tuple(QUICK)


@dataclass(frozen=True)
class Audit:
    """Trials by which scans are judged, none of them chosen by a scan.

    `quick_trials` are those of every candidate at the first rung, `full` those of a random sample,
    each on the same edits. `groups` are ids of edits that rise and fall together; an edit in
    none is one of its own. `rule` is the location of the depth rule, for a row where no scan of
    that name was run. A location tried at several rates counts at its best.
    """

    quick_trials: tuple[TrialRecord, ...]
    full: tuple[TrialRecord, ...]
    groups: tuple[tuple[str, ...], ...]
    rule: Location | None = None


@dataclass(frozen=True)
class Draws:
    """How often each group of edits comes, shape (1 + draws, groups); the first row: each once."""

    column: Mapping[str, int]
    times: Values

    def mean(self, edits: Sequence[str], values: Values) -> Values:
        """Means over the drawn edits, shape (1 + draws, ...), of values (edits, ...).

        NaN is left out; without any value the mean is NaN.
        """
        measured = ~np.isnan(values)
        sums = self._total(edits, np.where(measured, values, 0.0))
        counts = self._total(edits, measured.astype(float))
        return np.divide(sums, counts, out=np.full(sums.shape, nan), where=counts > 0)

    def _total(self, edits: Sequence[str], values: Values) -> Values:
        # Added up by group first: one product of matrices then serves all draws.
        sums = np.zeros((self.times.shape[1], *values.shape[1:]))
        np.add.at(sums, np.array([self.column[edit] for edit in edits], int), values)
        flat = self.times @ sums.reshape(len(sums), -1)
        return flat.reshape(len(flat), *values.shape[1:])


@dataclass(frozen=True)
class Outcome:
    """What tuning showed at every location, shape (1 + draws, locations), as measured first.

    `score` is the harmonic mean of the terms that were measured; `violated` tells which locations
    broke a bound or could not be tuned. `edits` were judged by.
    """

    locations: tuple[Location, ...]
    score: Values
    violated: NDArray[np.bool_]
    terms: tuple[str, ...]
    edits: tuple[str, ...]

    @property
    def standing(self) -> Values:
        """What locations are ordered by: the score, those that broke a bound below all others."""
        return self.score - self.violated

    @property
    def utility(self) -> Values:
        """What one has of a location: its score, 0 where it broke a bound."""
        return np.where(self.violated, 0.0, self.score)


@dataclass(frozen=True)
class Ranking:
    """What a variant of a scan says of locations, high recommends; (1 + draws, locations).

    NaN where it cannot see one. `resampled`: the scores are means over requests, made again from
    those drawn; else they are held fixed.
    """

    scan: str
    variant: str
    scores: Values
    resampled: bool


def draws_of(audit: Audit, scans: Sequence[ScanResult], count: int, seed: int) -> Draws:
    """Resamples the groups of all edits of the trials and scans."""
    trials = (*audit.quick_trials, *audit.full)
    seen = [edit for record in trials for edit in record.trial.edits]
    seen += [edit for scan in scans for edit in scan.edits]
    group = {edit: members[0] for members in audit.groups for edit in members}
    named = {edit: group.get(edit, edit) for edit in dict.fromkeys(seen)}
    location = {name: i for i, name in enumerate(dict.fromkeys(named.values()))}
    column, size = {edit: location[name] for edit, name in named.items()}, len(location)
    once = np.ones((1, size))
    # A bootstrap of one group would give every draw the same numbers.
    if size < 2:
        return Draws(column, once)
    # How often each group comes rather than which: one product of matrices serves all draws.
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), count)
    return Draws(column, np.concatenate([once, drawn.astype(float)]))


def outcome_of(records: Sequence[TrialRecord], draws: Draws, terms: Sequence[str]) -> Outcome:
    """What the trials showed, made again from every draw of edits.

    A term that no trial measured is left out. What one trial measured of an edit and another could
    not (a model that broke gives no number) is 0 there, as is a trial that has no outcomes.
    """
    edits, bad = _shared_edits(records), [_broke(record) for record in records]
    score, has_term = np.full((len(draws.times), len(records)), nan), [False] * len(terms)
    if edits:
        table = np.array([_rows(record, edits, terms) for record in records])
        missing = np.isnan(table)
        has_term = [not missing[..., i].all() for i in range(len(terms))]
        table = np.where(missing & ~missing.all(0), 0.0, table)
        score = _harmonic(draws.mean(edits, np.moveaxis(table[..., has_term], 0, 1)))
    names = [record.trial.location for record in records]
    locations = tuple(dict.fromkeys(names))
    best = [_best(score, bad, [i for i, name in enumerate(names) if name == x]) for x in locations]
    return Outcome(
        locations=locations,
        score=np.stack([column for column, _ in best], 1) if best else score,
        violated=np.array([broke for _, broke in best], bool),
        terms=tuple(term for term, measured in zip(terms, has_term, strict=True) if measured),
        edits=edits,
    )


def ranking_of(
    scan: ScanResult, variant: str, locations: Sequence[Location], draws: Draws
) -> Ranking:
    """A variant's scores of locations, made again from every draw of requests where they can be.

    Of several layers or sites it is the mean, where the scan has them all.
    """
    base, resampled = _base(scan, variant, draws)
    length = len(draws.times)
    columns = [_mean_score(base, location, length) for location in locations]
    table = np.stack(columns, 1) if columns else np.empty((length, 0))
    keys = {key for location in locations for key in location.cells if key in base}
    used = {key for key in keys if not isnan(base[key][0])}
    name, sign = scan.descriptor.name, scan.descriptor.sign
    return Ranking(name, variant, sign * _without_rounding(table), bool(used) and used <= resampled)


def _base(
    scan: ScanResult, variant: str, draws: Draws
) -> tuple[dict[tuple[int, str], Values], set[tuple[int, str]]]:
    """Scores of single locations by draw, and which of them are resampled."""
    locations, length = scan.of_locations(variant), len(draws.times)
    base = {key: np.full(length, score.score) for key, score in locations.items()}
    resampled = [
        key for key, score in locations.items() if _is_mean(score.values, score.score, scan.edits)
    ]
    if resampled:
        table = np.array([locations[key].values for key in resampled], dtype=float).T
        base |= dict(zip(resampled, draws.mean(scan.edits, table).T, strict=True))
    return base, set(resampled)


def _is_mean(values: Sequence[float], score: float, edits: Sequence[str]) -> bool:
    """Whether a score is the mean of its values per request."""
    measured = [value for value in values if not isnan(value)]
    if not measured or len(values) != len(edits):
        return False
    # Loosely: a scan may have averaged in single precision.
    return isclose(sum(measured) / len(measured), score, rel_tol=1e-4, abs_tol=1e-9)


def _mean_score(base: Mapping[tuple[int, str], Values], location: Location, length: int) -> Values:
    keys = location.cells
    if not keys or any(key not in base for key in keys):
        return np.full(length, nan)
    return np.mean([base[key] for key in keys], axis=0)


def _without_rounding(table: Values) -> Values:
    """Without what rounding adds: it must not tell apart what is equal."""
    sizes = np.abs(table[np.isfinite(table)])
    scale = float(sizes.max()) if sizes.size else 0.0
    return np.round(table / scale, 9) * scale if scale else table


def _shared_edits(records: Sequence[TrialRecord]) -> tuple[str, ...]:
    """Edits that all trials with outcomes were judged by, in their order."""
    judged = [record.outcomes for record in records if record.outcomes]
    edits = [{outcome.edit for outcome in outcomes} for outcomes in judged]
    shared = set.intersection(*edits) if edits else set()
    return tuple(o.edit for o in judged[0] if o.edit in shared) if judged else ()


def _rows(record: TrialRecord, edits: Sequence[str], terms: Sequence[str]) -> list[list[float]]:
    outcomes: dict[str, EditOutcome] = {outcome.edit: outcome for outcome in record.outcomes}
    if not outcomes:
        return [[nan] * len(terms) for _ in edits]
    return [[float(getattr(outcomes[edit], term)) for term in terms] for edit in edits]


def _broke(record: TrialRecord) -> bool:
    return bool(record.violated) or not record.outcomes


def _best(score: Values, bad: Sequence[bool], of: Sequence[int]) -> tuple[Values, bool]:
    """The best of some trials in every draw: of those within the bounds, if there are any."""
    within = [i for i in of if not bad[i]]
    return score[:, within or list(of)].max(1), not within


def _harmonic(means: Values) -> Values:
    """Harmonic mean over the last axis: 0 with a 0, NaN with a NaN or of nothing."""
    if not means.shape[-1]:
        return np.full(means.shape[:-1], nan)
    with np.errstate(divide="ignore"):
        harmonic = means.shape[-1] / (1 / np.maximum(means, 0.0)).sum(-1)
    # Rounding of the sums must not tell apart what is equal.
    return np.round(harmonic, 9)
