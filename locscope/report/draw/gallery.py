"""Which figures a run has: panels of switchable views, for the page and as files."""

import importlib.util
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from locscope.records import TokenMap
from locscope.report.data.count_rows import count_charts
from locscope.report.data.curves import (
    Chart,
    loss_curves,
    rate_curves,
    scan_outcome,
)
from locscope.report.data.heatmaps import COLLAPSE_VIEWS, EFFICACY_VIEWS, Heatmap, trial_heatmaps
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.scan_heatmaps import scan_heatmaps
from locscope.report.data.tradeoff import tradeoff
from locscope.report.data.words import score_title
from locscope.report.draw.figures import draw_chart, draw_contenders
from locscope.report.draw.heatmaps import draw_heatmap, least_width
from locscope.runs.files import write_atomic

IMAGES = ("png", "svg")
IMAGE_WIDTH = 900
HALF_PAGE = 500
"""Pixels that a figure has at the least where two stand side by side."""


@dataclass(frozen=True)
class Drawn:
    """A figure with its name, its title, a note on how to read it, and a description in words.

    Beside others it goes by its `choice`; tables of the same `variant` belong to it. `width` is
    the least that it needs, in pixels. `facts` are the maps of other prompts that can stand in it.
    """

    name: str
    title: str
    note: str
    description: str
    figure: go.Figure
    choice: str = ""
    variant: str = ""
    width: int = 0
    facts: tuple[TokenMap, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of a page."""
        return self.width > HALF_PAGE


def panels(inputs: ReportInputs) -> dict[str, tuple[Drawn, ...]]:
    """All panels of the page that have something to show: by name, the views to switch between."""
    named = {
        "contenders": _contenders(inputs),
        "efficacy": drawn_heatmaps(trial_heatmaps(inputs, EFFICACY_VIEWS)),
        "collapse": drawn_heatmaps(trial_heatmaps(inputs, COLLAPSE_VIEWS)),
        "tradeoff": _charts([tradeoff(inputs)]),
        "rates": _charts([rate_curves(inputs)]),
        "losses": _charts([loss_curves(inputs)]),
        **{chart.name: _charts([chart]) for chart in count_charts(inputs)},
        **_scan_panels(inputs),
    }
    return {name: views for name, views in named.items() if views}


def scan_panel(index: int) -> str:
    """The name of the panel with the heatmaps of the scan of that number."""
    return f"scan-{index}"


def outcome_panel(index: int) -> str:
    """The name of the panel with that scan against what tuning showed."""
    return f"outcome-{index}"


def _scan_panels(inputs: ReportInputs) -> dict[str, tuple[Drawn, ...]]:
    named: dict[str, tuple[Drawn, ...]] = {}
    for index, scan in enumerate(inputs.scans):
        named[scan_panel(index)] = drawn_heatmaps(scan_heatmaps(inputs, scan))
        charts = [scan_outcome(inputs, scan, variant) for variant in scan.variants]
        named[outcome_panel(index)] = tuple(
            replace(view, choice=variant, variant=variant)
            for variant, chart in zip(scan.variants, charts, strict=True)
            for view in _charts([chart])
        )
    return named


def _contenders(inputs: ReportInputs) -> tuple[Drawn, ...]:
    recommendation = inputs.recommendation
    if recommendation is None or not recommendation.contenders:
        return ()
    contenders = recommendation.contenders
    words = "; ".join(f"{contender.role} {contender.location}" for contender in contenders)
    name = score_title(recommendation.score_name)
    note = f"Score ({name}): mean with its 95 % interval; hollow: single repetitions."
    description, figure = f"Scores with intervals: {words}", draw_contenders(contenders)
    return (Drawn("contenders", "Contenders", note, description, figure),)


def drawn_heatmaps(heatmaps: Iterable[Heatmap]) -> tuple[Drawn, ...]:
    """Each heatmap drawn, with its description."""
    return tuple(
        Drawn(
            h.name,
            h.title,
            h.note,
            _describe_heatmap(h),
            draw_heatmap(h),
            h.choice,
            h.variant,
            least_width(h),
            h.facts,
        )
        for h in heatmaps
    )


def _describe_heatmap(heatmap: Heatmap) -> str:
    size = f"heatmap over {len(heatmap.rows)} layers and {len(heatmap.columns)} {heatmap.across}"
    if heatmap.recommended is None:
        return f"{heatmap.title}: {size}"
    row, column = heatmap.recommended
    at = f"layer {heatmap.rows[row]}, {heatmap.columns[column]}"
    return f"{heatmap.title}: {size}, recommended: {at}"


def _charts(charts: Iterable[Chart]) -> tuple[Drawn, ...]:
    return tuple(
        Drawn(c.name, c.title, c.note, _describe_chart(c), draw_chart(c))
        for c in charts
        if c.series
    )


def _describe_chart(chart: Chart) -> str:
    names = ", ".join(series.name for series in chart.series)
    return f"{chart.title}: {chart.y_title} against {chart.x_title}, for {names}"


def specification(drawn: Drawn) -> dict[str, Any]:
    """The figure as plain JSON data for a page that has its own headings."""
    plain = json.loads(str(drawn.figure.to_json()))
    # The page has its own headings and background, dark ones too.
    for unused in ("title", "template", "paper_bgcolor"):
        plain["layout"].pop(unused, None)
    plain["layout"]["margin"]["t"] = max(16, plain["layout"]["margin"]["t"] - 40)
    words = {"name": drawn.title, "note": drawn.note, "label": drawn.description}
    return {**words, "variant": drawn.variant, "width": drawn.width, **plain}


def figures(inputs: ReportInputs) -> dict[str, go.Figure]:
    """Every figure of the report, by the name of its file."""
    return {name: drawn.figure for name, drawn in _named(panels(inputs).values()).items()}


def write_figures(inputs: ReportInputs, directory: Path) -> tuple[Path, ...]:
    """Writes every figure as Plotly JSON, and as PNG and SVG where kaleido is there and works."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn, written = figures(inputs), []
    for name, figure in drawn.items():
        path = directory / f"{name}.json"
        write_atomic(path, str(figure.to_json()))
        written.append(path)
    if importlib.util.find_spec("kaleido") is None:
        return tuple(written)
    return (*written, *_write_images(drawn, directory))


def _named(panels: Iterable[tuple[Drawn, ...]]) -> dict[str, Drawn]:
    """Every view under a file name of its own."""
    named: dict[str, Drawn] = {}
    for drawn in chain.from_iterable(panels):
        # Names hold what files may not: spaces, slashes of variants, tokens.
        plain = re.sub(r"[^a-z0-9]+", "-", drawn.name.lower()).strip("-") or "figure"
        name, count = plain, 1
        while name in named:
            count += 1
            name = f"{plain}-{count}"
        named[name] = drawn
    return named


def _write_images(figures: dict[str, go.Figure], directory: Path) -> tuple[Path, ...]:
    """All pictures in one go, for each go starts a browser; those that were written."""
    wanted = [
        (figure, directory / f"{n}.{kind}") for n, figure in figures.items() for kind in IMAGES
    ]
    wanted_figures = [figure for figure, _ in wanted]
    paths: list[str | Path] = [path for _, path in wanted]
    size = {"width": IMAGE_WIDTH, "height": [figure.layout.height for figure in wanted_figures]}
    # A picture of an earlier run must not pass for one of this.
    for _, path in wanted:
        path.unlink(missing_ok=True)
    # kaleido needs a browser and fails in many ways without one; pictures are an extra.
    with suppress(Exception):
        plotly.io.write_images(wanted_figures, paths, scale=2, validate=False, **size)
    return tuple(path for _, path in wanted if path.is_file())
