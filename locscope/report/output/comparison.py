"""Several runs side by side in one page: over models, edit sets and seeds."""

from math import isnan, nan

from locscope.report.data import words
from locscope.report.data.curves import depth_spans
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.verdict import verdict_of
from locscope.report.draw.figures import draw_depths
from locscope.report.draw.gallery import Drawn
from locscope.report.output.page import render


def render_comparison(runs: tuple[ReportInputs, ...]) -> str:
    """A page with a table over the runs and the relative depth that each recommends."""
    labels = run_labels(runs)
    spans = depth_spans(zip(labels, runs, strict=True))
    drawn = {}
    if spans:
        note = "A model with more layers is put on the same scale: layer over highest layer."
        description = "Relative depth of the recommended location per run"
        view = Drawn("depths", "Recommended depth", note, description, draw_depths(spans))
        drawn["depths"] = (view,)
    table = runs_table(runs)
    sentences = [(label, verdict_of(run)) for label, run in zip(labels, runs, strict=True)]
    return render("comparison.html", drawn, runs=table, sentences=sentences)


def run_labels(runs: tuple[ReportInputs, ...]) -> tuple[str, ...]:
    """A label per run, numbered where two would be the same."""
    labels: list[str] = []
    for inputs in runs:
        plain = f"{inputs.run.model.name} · {inputs.run.edits} · seed {inputs.run.seed}"
        label, count = plain, 1
        # Two runs of one model, edits and seed may differ in a setting alone.
        while label in labels:
            count += 1
            label = f"{plain} ({count})"
        labels.append(label)
    return tuple(labels)


def runs_table(runs: tuple[ReportInputs, ...]) -> Table:
    """A row per run: what it was on and what it recommends."""
    columns = ("model", "layers", "edits", "edit count", "seed", "recommended", "relative depth")
    columns = (*columns, "lr", "score on T", "interval", "perplexity ratio", "verdict")
    return Table("runs", "Runs", columns, tuple(_run_row(inputs) for inputs in runs))


def _run_row(inputs: ReportInputs) -> tuple[TableCell, ...]:
    run, best, verdict = inputs.run, inputs.best, verdict_of(inputs)
    lr = best.recipe.lr if best else nan
    bounds = words.interval(best.low, best.high) if best else ""
    measures = {measure.name: measure.value for measure in best.measures} if best else {}
    spans = depth_spans([("", inputs)])
    depth = spans[0].x[0] if len(spans) == 1 and len(set(spans[0].x)) == 1 else nan
    return (
        TableCell(run.model.name),
        TableCell(str(run.model.layers), run.model.layers),
        TableCell(run.edits),
        TableCell(str(run.edit_count), run.edit_count),
        TableCell(str(run.seed), run.seed),
        TableCell(str(best.location) if best else words.NOT_MEASURED),
        TableCell(words.NOT_MEASURED if isnan(depth) else f"{depth:.2f}", depth),
        TableCell(words.rate(lr), lr),
        figure_cell(best.score if best else nan),
        TableCell(bounds),
        figure_cell(measures.get("perplexity_ratio", nan)),
        TableCell(verdict.badge or words.NOT_MEASURED, alarm=verdict.kind in ("none", "missed")),
    )
