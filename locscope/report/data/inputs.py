"""What a report is made from, and the questions to it that several figures share."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

from locscope.locations import Location
from locscope.records import (
    Contender,
    Edit,
    ProtocolResults,
    Recommendation,
    RunInfo,
    ScanResult,
    Scorecard,
    TrialRecord,
)

SELECTION_SPLIT, REPORT_SPLIT = "S", "T"
"""The splits of trials that select and of those that are reported on; V validates the finalists."""

Cell = tuple[int, str]
"""A layer and a part."""


@dataclass(frozen=True)
class ReportInputs:
    """The records of one run. `edits` (for prompts in tables) and `panels` (of other protocols)
    may be left out."""

    run: RunInfo
    recommendation: Recommendation | None
    scans: tuple[ScanResult, ...]
    trials: tuple[TrialRecord, ...]
    scorecard: Scorecard | None
    edits: tuple[Edit, ...] = ()
    panels: tuple[ProtocolResults, ...] = ()

    @property
    def only_scans(self) -> bool:
        """Whether the run was to scan and no more: nothing of it was tuned."""
        return self.run.verb == "scan"

    @property
    def best(self) -> Contender | None:
        """The recommended contender, where there is one."""
        has_one = self.recommendation is not None and self.recommendation.contenders
        return self.recommendation.best if self.recommendation and has_one else None


def ranked(score: float) -> float:
    """The score as a sort key: not measured comes last."""
    return float("-inf") if isnan(score) else score


def standing(record: TrialRecord) -> tuple[bool, bool, float]:
    """Sorts the best trial highest: measured, within the bounds, then by score."""
    return not isnan(record.score), not record.violated, ranked(record.score)


def choosing(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The trials that served for choosing the location: those of recipes besides are not of
    them."""
    return tuple(
        record
        for record in trials
        if record.trial.split == SELECTION_SPLIT and record.trial.recipe.kind == "full"
    )


def sweep(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The trials of the rung that covers most locations: the one a heatmap can be drawn of.

    Rungs differ in edits and steps, so their scores are not put side by side.
    """
    rungs: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in choosing(trials):
        rungs[record.trial.rung].append(record)
    # Locations and not trials: a rung of few locations at many rates is no map.
    covered = lambda records: len({record.trial.location for record in records})  # noqa: E731
    return tuple(max(rungs.values(), key=covered, default=()))


def in_full(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The trials for choosing that ran in full: no quick evaluation, on the most edits and epochs
    that any had. Less is another scale."""
    looked = [record for record in choosing(trials) if not record.trial.quick]
    # Epochs too: on the same edits a rung may stop earlier.
    spent = lambda record: (len(record.trial.edits), record.trial.recipe.epochs)  # noqa: E731
    most = max(map(spent, looked), default=None)
    return tuple(record for record in looked if spent(record) == most)


def cell_of(location: Location) -> Cell | None:
    """Layer and part of a location that is one part of one layer; None for any other."""
    # Ranges of layers have no single cell, and drawing them in each would repeat them.
    site, *others = location.sites
    if others or site.first != site.last or site.head is not None:
        return None
    return site.first, site.part


def by_cell(trials: Iterable[TrialRecord]) -> dict[Cell, TrialRecord]:
    """The best trial of every layer and part."""
    best: dict[Cell, TrialRecord] = {}
    for record in trials:
        cell = cell_of(record.trial.location)
        if cell is None:
            continue
        if cell not in best or standing(record) > standing(best[cell]):
            best[cell] = record
    return best


def finalists(trials: Iterable[TrialRecord]) -> dict[Location, tuple[TrialRecord, ...]]:
    """The locations run in full at several learning rates: one trial per rate, rates rising."""
    tried: dict[Location, dict[float, TrialRecord]] = defaultdict(dict)
    for record in in_full(trials):
        tried[record.trial.location].setdefault(record.trial.recipe.lr, record)
    return {
        location: tuple(rates[rate] for rate in sorted(rates))
        for location, rates in tried.items()
        if len(rates) > 1
    }


def reported(inputs: ReportInputs) -> tuple[TrialRecord, ...]:
    """The trials of the recommended location and rate on the reporting split.

    The rest of the recipe is not compared: the batch follows the number of edits in a split.
    """
    best = inputs.best
    if best is None:
        return ()
    # Another recipe may have been compared at the same location and rate.
    wanted = best.location, best.recipe.lr, best.recipe.kind
    trials = (record for record in inputs.trials if on_reporting_split(record))
    return tuple(
        record
        for record in trials
        if (record.trial.location, record.trial.recipe.lr, record.trial.recipe.kind) == wanted
    )


def on_reporting_split(record: TrialRecord) -> bool:
    """Whether the trial is one on T."""
    return record.trial.split == REPORT_SPLIT
