"""Several runs beside each other: their names, what their settings differ in, and heatmaps on one
scale."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from locscope.records import TrialRecord
from locscope.report.data.heatmaps import (
    COLLAPSE_VIEWS,
    EFFICACY_VIEWS,
    Heatmap,
    trial_heatmap,
)
from locscope.report.data.inputs import ReportInputs, sweep
from locscope.report.data.rows import Table, TableCell, settings_of
from locscope.report.data.words import NOT_MEASURED, title_of

SHARED = ("score", "reliability", "generalization", "locality", "perplexity_ratio")
"""Measures that are compared as heatmaps."""


def labels_of(runs: Sequence[ReportInputs], folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """A name per run: that of its folder, with as many folders above it as tell them apart.

    Runs without a folder go by model, edits and seed; what is still alike gets a number.

    Example:
        >>> labels_of((), (Path("a/one"), Path("b/one"), Path("b/two")))
        ('a/one', 'b/one', 'two')
    """
    plain = [
        f"{run.run.model.name} · {run.run.edits} · seed {run.run.seed}" for run in runs
    ] if not folders else _shortest([folder.absolute().parts for folder in folders])  # fmt: skip
    counts, labels = Counter[str](), []
    for label in plain:
        counts[label] += 1
        labels.append(label if counts[label] == 1 else f"{label} ({counts[label]})")
    return tuple(labels)


def _shortest(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """The last folders of each path, as few as name it alone."""
    labels = []
    for path in paths:
        length = 1
        while length < len(path) and [p[-length:] for p in paths].count(path[-length:]) > 1:
            # The same folder given twice is told apart by a number.
            if paths.count(path) > 1 and length >= 2:
                break
            length += 1
        labels.append("/".join(path[-length:]))
    return labels


def differences_table(runs: Sequence[ReportInputs], labels: Sequence[str]) -> Table:
    """A row per setting that is not the same in all runs, and one per run's version of locscope."""
    settings = [_settings(inputs) for inputs in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    rows = tuple(
        (TableCell(name), *(TableCell(one.get(name, NOT_MEASURED)) for one in settings))
        for name in names
        if len({one.get(name) for one in settings}) > 1
    )
    return Table("differences", "Settings that differ", ("setting", *labels), rows)


def _settings(inputs: ReportInputs) -> dict[str, str]:
    run = inputs.run
    own = {"verb": run.verb, "locscope": run.versions.get("locscope", "")}
    hashes = {"model_hash": run.model.hash, "edits_hash": run.edits_hash}
    return {**settings_of(inputs), **own, **hashes}


def shared_heatmaps(
    runs: Sequence[ReportInputs], labels: Sequence[str]
) -> tuple[tuple[Heatmap, ...], ...]:
    """For every run a heatmap per measure that two or more runs have, on one scale for all.

    Runs whose rung was another stay, and their names say which it was.
    """
    views = {**EFFICACY_VIEWS, **COLLAPSE_VIEWS}
    found: list[list[Heatmap]] = [[] for _ in runs]
    for measure in SHARED:
        drawn = {
            index: _titled(inputs, trials, measure, views[measure], label)
            for index, (inputs, label) in enumerate(zip(runs, labels, strict=True))
            if (trials := sweep(inputs.trials))
        }
        measured = {index: heatmap for index, heatmap in drawn.items() if heatmap.measured}
        if len(measured) > 1:
            for index, heatmap in zip(measured, _on_one_scale([*measured.values()]), strict=True):
                found[index].append(heatmap)
    return tuple(map(tuple, found))


def _titled(
    inputs: ReportInputs, trials: Sequence[TrialRecord], measure: str, note: str, label: str
) -> Heatmap:
    first = trials[0].trial
    quick = ", quick" if first.quick else ""
    heatmap = trial_heatmap(inputs, trials, measure, note)
    said = f"{label}: {first.rung} ({len(first.edits)} edits{quick})"
    return replace(heatmap, name=f"{measure}-{label}", title=said, choice=title_of(measure))


def _on_one_scale(heatmaps: Sequence[Heatmap]) -> tuple[Heatmap, ...]:
    values = [value for heatmap in heatmaps for value in heatmap.measured]
    ends = min(values), max(values)
    # Ticks of those that reach furthest hold for all: the scale is theirs.
    ticks = max((heatmap.ticks for heatmap in heatmaps), key=len)
    return tuple(replace(heatmap, span=ends, ticks=ticks) for heatmap in heatmaps)


def rungs_differ(runs: Sequence[ReportInputs]) -> tuple[str, ...]:
    """In what the heatmaps' trials differ from run to run, so that scores are no one scale."""
    firsts = [trials[0] for inputs in runs if (trials := sweep(inputs.trials))]
    kinds = {
        "what is asked": {record.trial.quick for record in firsts},
        "edits": {len(record.trial.edits) for record in firsts},
        "epochs": {record.trial.recipe.epochs for record in firsts},
        "what the score is": {record.score_name for record in firsts},
    }
    return tuple(name for name, seen in kinds.items() if len(seen) > 1)
