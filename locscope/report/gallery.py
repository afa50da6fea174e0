"""Which figures a run has: panels of switchable views, for the page and as files."""

import importlib.util
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from locscope.report.curves import (
    Chart,
    contender_intervals,
    loss_curves,
    rate_curves,
    scan_outcomes,
    tradeoff,
)
from locscope.report.figures import draw_chart, draw_intervals
from locscope.report.heatmap_figures import draw_heatmap
from locscope.report.heatmaps import (
    COLLAPSE_VIEWS,
    EFFICACY_VIEWS,
    Heatmap,
    scan_heatmaps,
    trial_heatmaps,
)
from locscope.report.inputs import ReportInputs


@dataclass(frozen=True)
class Drawn:
    """A figure with its name, its title, a note on how to read it, and a description in words."""

    name: str
    title: str
    note: str
    description: str
    figure: go.Figure


@dataclass(frozen=True)
class Panel:
    """A place in the page that shows one of several views."""

    name: str
    heading: str
    views: tuple[Drawn, ...]


def panels(inputs: ReportInputs) -> dict[str, Panel]:
    """All panels that have something to show, by name."""
    found = (
        Panel("contenders", "Contenders on R", _contenders(inputs)),
        Panel("efficacy", "Efficacy", _heatmaps(trial_heatmaps(inputs, EFFICACY_VIEWS))),
        Panel("collapse", "Collapse", _heatmaps(trial_heatmaps(inputs, COLLAPSE_VIEWS))),
        Panel("tradeoff", "Efficacy against collapse", _charts([tradeoff(inputs)])),
        Panel("rates", "Finalists: score by learning rate", _charts([rate_curves(inputs)])),
        Panel("losses", "Finalists: loss by epoch", _charts([loss_curves(inputs)])),
        Panel("scans", "Scan", _heatmaps(scan_heatmaps(inputs))),
        Panel("outcomes", "Scan against outcome", _charts(scan_outcomes(inputs))),
    )
    return {panel.name: panel for panel in found if panel.views}


def _contenders(inputs: ReportInputs) -> tuple[Drawn, ...]:
    data = contender_intervals(inputs)
    if not data.bars:
        return ()
    words = "; ".join(f"{bar.label} {bar.detail}" for bar in data.bars)
    figure = draw_intervals(data)
    return (Drawn(data.name, data.title, data.note, f"Scores with intervals: {words}", figure),)


def _heatmaps(heatmaps: Iterable[Heatmap]) -> tuple[Drawn, ...]:
    return tuple(
        Drawn(h.name, h.title, h.note, _describe_heatmap(h), draw_heatmap(h)) for h in heatmaps
    )


def _describe_heatmap(heatmap: Heatmap) -> str:
    size = f"heatmap over {len(heatmap.rows)} layers and {len(heatmap.columns)} parts"
    marks = "".join(
        f", {mark.label}: layer {heatmap.rows[mark.row]}, {heatmap.columns[mark.column]}"
        for mark in heatmap.marked
    )
    return f"{heatmap.title}: {size}{marks}"


def _charts(charts: Iterable[Chart]) -> tuple[Drawn, ...]:
    return tuple(
        Drawn(c.name, c.title, c.note, _describe_chart(c), draw_chart(c))
        for c in charts
        if c.series
    )


def _describe_chart(chart: Chart) -> str:
    names = ", ".join(series.name for series in chart.series)
    return f"{chart.title}: {chart.y_title} against {chart.x_title}, for {names}"


def specification(drawn: Drawn) -> dict:
    """The figure as plain JSON data for a page that has its own headings."""
    plain = json.loads(str(drawn.figure.to_json()))
    for unused in ("title", "template", "paper_bgcolor"):
        plain["layout"].pop(unused, None)
    plain["layout"]["margin"]["t"] = max(16, plain["layout"]["margin"]["t"] - 40)
    return {"name": drawn.title, "note": drawn.note, "label": drawn.description, **plain}


def figures(inputs: ReportInputs) -> dict[str, go.Figure]:
    """Every figure of the report, by the name of its file."""
    return {name: drawn.figure for name, drawn in _named(panels(inputs).values()).items()}


def write_figures(inputs: ReportInputs, directory: Path) -> tuple[Path, ...]:
    """Writes every figure as Plotly JSON, and as PNG where kaleido is there and works."""
    directory.mkdir(parents=True, exist_ok=True)
    written, images = [], importlib.util.find_spec("kaleido") is not None
    for name, drawn in _named(panels(inputs).values()).items():
        path = directory / f"{name}.json"
        path.write_text(str(drawn.figure.to_json()), encoding="utf-8")
        written.append(path)
        if images:
            image = _write_image(drawn.figure, directory / f"{name}.png")
            written += [image] if image else []
            images = image is not None
    return tuple(written)


def _named(found: Iterable[Panel]) -> dict[str, Drawn]:
    """Every view under a file name of its own."""
    named: dict[str, Drawn] = {}
    for drawn in (view for panel in found for view in panel.views):
        plain = re.sub(r"[^a-z0-9]+", "-", drawn.name.lower()).strip("-") or "figure"
        name, count = plain, 1
        while name in named:
            count += 1
            name = f"{plain}-{count}"
        named[name] = drawn
    return named


def _write_image(figure: go.Figure, path: Path) -> Path | None:
    try:
        figure.write_image(path, width=900, scale=2)
    except Exception:
        # kaleido needs a browser and fails in many ways without one; pictures are an extra.
        path.unlink(missing_ok=True)
        return None
    return path
