"""Several runs side by side in one page: over models, edit sets and seeds."""

from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

from locscope.report.data import words
from locscope.report.data.curves import depth_spans
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.page.runs import (
    differences_table,
    labels_of,
    rungs_differ,
    shared_heatmaps,
)
from locscope.report.data.rows import Table, TableCell, figure_cell, transposed
from locscope.report.data.verdict import verdict_of
from locscope.report.draw.figures import draw_depths
from locscope.report.draw.gallery import Drawn, drawn_heatmaps
from locscope.report.output.page import render, specifications
from locscope.runs.private import without_home

SHOWN = ("reliability", "generalization", "locality", "perplexity_ratio")
"""Measures with the recipe to use, on the edits that will be made."""


def render_comparison(runs: tuple[ReportInputs, ...], folders: Sequence[Path] = ()) -> str:
    """A page with a table over the runs, what their settings differ in, their heatmaps on one
    scale, and the relative depth that each recommends. Runs go by the names of their folders."""
    labels = labels_of(runs, folders)
    spans = depth_spans(zip(labels, runs, strict=True))
    drawn: dict[str, tuple[Drawn, ...]] = {}
    if spans:
        note = "A model with more layers is put on the same scale: layer over highest layer."
        description = "Relative depth of the recommended location per run"
        view = Drawn("depths", "Recommended depth", note, description, draw_depths(spans))
        drawn["depths"] = (view,)
    # A panel per run, with a view per measure, so that all runs show the same one.
    views = {f"run-{n}": found for n, found in enumerate(shared_heatmaps(runs, labels)) if found}
    drawn |= {name: drawn_heatmaps(heatmaps) for name, heatmaps in views.items()}
    differ = differences_table(runs, labels)
    return render(
        "comparison.html",
        drawn,
        specifications(drawn),
        runs=transposed(runs_table(runs, labels)),
        scores=len({run.recommendation.score_name for run in runs if run.recommendation}) > 1,
        differences=differ,
        maps=[(name, heatmaps[0].title) for name, heatmaps in views.items()],
        wide=any(view.wide for name in views for view in drawn[name]),
        mixed=rungs_differ(runs),
        sentences=[(label, verdict_of(run)) for label, run in zip(labels, runs, strict=True)],
    )


def runs_table(runs: tuple[ReportInputs, ...], labels: Sequence[str]) -> Table:
    """A row per run: what it was on and what it recommends."""
    columns = (
        "run",
        "model",
        "layers",
        "edits",
        "edit count",
        "seed",
        "recommended",
        "relative depth",
    )
    columns = (*columns, "score is", "lr on T", "score on T", "95 % of the score on T")
    columns = (
        *columns,
        "lr to use",
        "score with it",
        *(f"{words.title_of(name)} with it" for name in SHOWN),
    )
    columns = (*columns, "verdict")
    rows = tuple(
        (TableCell(label), *_run_row(inputs)) for label, inputs in zip(labels, runs, strict=True)
    )
    return Table("runs", "Runs", columns, rows)


def _run_row(inputs: ReportInputs) -> tuple[TableCell, ...]:
    run, best, verdict = inputs.run, inputs.best, verdict_of(inputs)
    made = inputs.recommendation.deployment if inputs.recommendation else None
    last = made or best
    lr, lr_on_t = (one.recipe.lr if one else nan for one in (last, best))
    bounds = words.interval(best.low, best.high) if best else ""
    measures = {measure.name: measure.value for measure in last.measures} if last else {}
    spans = depth_spans([("", inputs)])
    depth = spans[0].x[0] if len(spans) == 1 and len(set(spans[0].x)) == 1 else nan
    return (
        TableCell(without_home(run.model.name)),
        TableCell(str(run.model.layers), run.model.layers),
        TableCell(run.edits),
        TableCell(str(run.edit_count), run.edit_count),
        TableCell(str(run.seed), run.seed),
        TableCell(str(best.location) if best else words.NOT_MEASURED),
        TableCell(words.NOT_MEASURED if isnan(depth) else f"{depth:.2f}", depth),
        TableCell(inputs.recommendation.score_name if inputs.recommendation else ""),
        TableCell(words.rate(lr_on_t), lr_on_t),
        figure_cell(best.score if best else nan),
        TableCell(bounds),
        TableCell(words.rate(lr), lr),
        figure_cell(made.score if made else nan),
        *(figure_cell(measures.get(name, nan)) for name in SHOWN),
        TableCell(verdict.badge or words.NOT_MEASURED, alarm=verdict.kind in ("none", "missed")),
    )
