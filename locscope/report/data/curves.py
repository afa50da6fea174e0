"""Data of the line, point and interval figures. Numbers and words only, no drawing."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

from locscope.locations import Location
from locscope.records import ScanResult, ScanVerdict, TrialRecord
from locscope.report.data.heatmaps import part_order
from locscope.report.data.inputs import (
    ReportInputs,
    by_cell,
    finalists,
    standing,
    sweep,
)
from locscope.report.data.scan_heatmaps import scan_title
from locscope.report.data.words import in_words, number, rate


@dataclass(frozen=True)
class Series:
    """Named points: a line, or a cloud of one part. `hollow` tells which miss a bound.

    In a chart of clouds a series may also be their `front`, or its `knee`. Names on the y axis
    stand below each other. `locations` say what the points are of.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...] | tuple[str, ...]
    hover: tuple[str, ...]
    part: str = ""
    hollow: tuple[bool, ...] = ()
    kind: Literal["points", "front", "knee"] = "points"
    locations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Series over two axes. `ticks` are given where x was placed on a scale of its own."""

    name: str
    title: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    lines: bool
    log_x: bool = False
    note: str = ""
    ticks: tuple[tuple[float, str], ...] = ()


def rate_curves(inputs: ReportInputs) -> Chart:
    """The score of every finalist against the learning rate."""
    series = tuple(
        Series(
            str(location),
            tuple(record.trial.recipe.lr for record in records),
            tuple(record.score for record in records),
            tuple(_hover(record) for record in records),
            hollow=tuple(bool(record.violated) for record in records),
            locations=(str(location),) * len(records),
        )
        for location, records in _leading(inputs.trials)
    )
    note = "Hollow: a bound on collapse is missed at that rate."
    return Chart("rates", "Learning rate", "learning rate", "score", series, True, True, note)


def loss_curves(inputs: ReportInputs) -> Chart:
    """The mean loss per epoch of every finalist at its best rate."""
    series = []
    for location, records in _leading(inputs.trials):
        # One curve a location: those of other rates would hide what tells locations apart.
        best = max(records, key=standing)
        numbers = range(1, len(best.epochs) + 1)
        hover = tuple(
            f"{location}, lr {rate(best.trial.recipe.lr)}\nepoch {n}: loss {number(epoch.loss)}\n"
            f"{epoch.steps} steps, {epoch.skipped} batches skipped"
            for n, epoch in zip(numbers, best.epochs, strict=True)
        )
        losses = tuple(epoch.loss for epoch in best.epochs)
        epochs, places = tuple(map(float, numbers)), (str(location),) * len(losses)
        series.append(Series(str(location), epochs, losses, hover, locations=places))
    title, y_title = "Loss at the best rate", "mean loss (nats)"
    return Chart("losses", title, "epoch", y_title, tuple(series), lines=True)


MOST_CURVES = 8
"""More lines in one figure cannot be told apart."""


def _leading(trials: Iterable[TrialRecord]) -> list[tuple[Location, tuple[TrialRecord, ...]]]:
    best = lambda item: max(map(standing, item[1]))  # noqa: E731
    return sorted(finalists(trials).items(), key=best, reverse=True)[:MOST_CURVES]


def _hover(record: TrialRecord) -> str:
    ratio = record.measure("perplexity_ratio").value
    lines = [
        f"{record.trial.location}, lr {rate(record.trial.recipe.lr)}",
        f"score {number(record.score)}",
        f"perplexity ratio {number(ratio)}",
    ]
    if record.violated:
        lines += map(in_words, record.violated)
    return "\n".join(lines)


def scan_outcomes(inputs: ReportInputs) -> tuple[Chart, ...]:
    """For every variant of every scan, its score against what the sweep's trials showed."""
    charts = (
        scan_outcome(inputs, scan, variant) for scan in inputs.scans for variant in scan.variants
    )
    return tuple(chart for chart in charts if chart.series)


def scan_outcome(inputs: ReportInputs, scan: ScanResult, variant: str) -> Chart:
    """A scan's score against the trial's score of the same location, a series per part."""
    trials = by_cell(sweep(inputs.trials))
    points: dict[str, list[tuple[float, float, str, str]]] = defaultdict(list)
    for score in scan.scores:
        trial = trials.get((score.layer, score.part))
        # A head or a role is no location that a sweep tunes.
        whole = score.variant == variant and score.head < 0 and not score.role
        if not whole or trial is None or isnan(score.score) or isnan(trial.score):
            continue
        text = f"{trial.trial.location}\nscan {number(score.score)}\nscore {number(trial.score)}"
        place = str(trial.trial.location)
        points[score.part].append((score.score, trial.score, text, place))
    series = tuple(_points(part, points[part]) for part in sorted(points, key=part_order))
    return Chart(
        f"outcome-{scan.descriptor.name}-{variant}",
        scan_title(scan, variant),
        f"scan's score ({'high' if scan.descriptor.sign > 0 else 'low'} recommends)",
        "score after tuning",
        series,
        lines=False,
        note=verdict_line(scan_verdict(inputs, scan, variant)),
    )


def _points(part: str, points: list[tuple[float, float, str, str]]) -> Series:
    x, y, hover, locations = zip(*points, strict=True)
    return Series(part, x, y, hover, part, locations=locations)


def scan_verdict(inputs: ReportInputs, scan: ScanResult, variant: str) -> ScanVerdict | None:
    """The scorecard's line on a variant of a scan."""
    # A scan is judged by variant: one of them may predict and another not.
    for verdict in inputs.scorecard.verdicts if inputs.scorecard else ():
        if (verdict.scan, verdict.variant) == (scan.descriptor.name, variant):
            return verdict
    return None


def verdict_line(verdict: ScanVerdict | None) -> str:
    """The verdict on a scan, and what it rests on."""
    if verdict is None:
        return "Not judged."
    return f"Verdict: {verdict.sentence or verdict.verdict}."


def depth_spans(runs: Iterable[tuple[str, ReportInputs]]) -> tuple[Series, ...]:
    """The relative depth (0 lowest layer, 1 highest) that every labelled run recommends.

    A line per site of the location, from its first to its last layer, at the label of the run.
    """
    spans = []
    for label, inputs in runs:
        if inputs.recommendation is None:
            continue
        # The highest layer is at 1, so that models of any depth share the axis.
        top = inputs.run.model.layers - 1
        for site in inputs.recommendation.location.sites:
            # With a single layer there is no depth to speak of.
            depths = tuple(x / top if top > 0 else nan for x in (site.first, site.last))
            hover = f"{label}\n{site} of {top + 1} layers"
            spans.append(Series(label, depths, (label,) * 2, (hover,) * 2, site.part))
    return tuple(spans)
