"""Data of the recipes that were compared at the recommended location, on T."""

from collections.abc import Sequence
from math import isnan, nan
from statistics import fmean

from locscope.records import TrialRecord
from locscope.report.data.inputs import ReportInputs, on_reporting_split
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import in_words, millions, rate, title_of
from locscope.tuning.recipes import RECIPES

MEASURES = ("reliability", "generalization", "locality", "perplexity_ratio", "retention")
COLUMNS = (
    *("recipe", "lr", "weights", "score on T", "above full"),
    *map(title_of, MEASURES),
    "bounds",
)
NOTE = (
    "At the recommended location, each recipe at its own best rate on S; means over the "
    "repetitions on T. Above full: the mean paired difference of score."
)


def recipes_table(inputs: ReportInputs) -> Table:
    """A row per recipe, the whole matrices first; no rows where none was compared."""
    best = inputs.best
    runs: dict[str, list[TrialRecord]] = {}
    for record in inputs.trials:
        if best and on_reporting_split(record) and record.trial.location == best.location:
            runs.setdefault(record.trial.recipe.kind, []).append(record)
    full = [r for r in runs.pop("full", []) if best and r.trial.recipe.lr == best.recipe.lr]
    order = [kind for kind in RECIPES if kind in runs]
    rows = [_row(found, full) for found in (full, *(runs[kind] for kind in order))] if runs else []
    return Table("recipes", "Recipes at the recommended location", COLUMNS, tuple(rows), NOTE)


def _row(found: Sequence[TrialRecord], full: Sequence[TrialRecord]) -> tuple[TableCell, ...]:
    first = found[0]
    own = {record.trial.edits: record.score for record in full}
    gains = [r.score - own[r.trial.edits] for r in found if r.trial.edits in own]
    broken = dict.fromkeys(in_words(line) for record in found for line in record.violated)
    return (
        TableCell(first.trial.recipe.kind),
        TableCell(rate(first.trial.recipe.lr), first.trial.recipe.lr),
        TableCell(millions(first.parameter_count), first.parameter_count),
        figure_cell(_mean([record.score for record in found])),
        figure_cell(_mean(gains)),
        *(figure_cell(_mean([r.measure(name).value for r in found])) for name in MEASURES),
        TableCell("; ".join(broken) or "kept", alarm=bool(broken)),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return fmean(known) if known else nan
