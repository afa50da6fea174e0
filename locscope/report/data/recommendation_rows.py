"""Data of what was recommended: key numbers, contenders, and recipes fitted and compared."""

from collections.abc import Sequence
from math import isnan, nan
from statistics import fmean

from locscope.records import Contender, Measure, Recommendation, TrialRecord
from locscope.report.data.inputs import ReportInputs, on_reporting_split
from locscope.report.data.rows import TRIAL_MEASURES, Table, TableCell, figure_cell
from locscope.report.data.words import (
    in_words,
    interval,
    millions,
    names,
    number,
    rate,
    score_title,
    title_of,
)
from locscope.tuning.recipes import RECIPES

CARD_MEASURES = (
    "reliability",
    "generalization",
    "locality",
    "perplexity_ratio",
    "kl",
    "retention",
)
RECIPE_MEASURES = ("reliability", "generalization", "locality", "perplexity_ratio", "retention")
RECIPE_COLUMNS = (
    *("recipe", "lr", "weights", "score on T", "above full"),
    *map(title_of, RECIPE_MEASURES),
    "bounds",
)
RECIPE_NOTE = (
    "At the recommended location, each recipe at its own best rate on S; means over the "
    "repetitions on T. Above full: the mean paired difference of score."
)


def key_cards(inputs: ReportInputs) -> Table:
    """Score and measures on the edits that will be made, each beside the held-out one."""
    best, recommendation = inputs.best, inputs.recommendation
    rows: list[tuple[TableCell, ...]] = []
    if best is not None and recommendation is not None:
        made = recommendation.deployment or best
        title = score_title(recommendation.score_name)
        beside = f"held out {number(best.score)} {interval(best.low, best.high)}"
        score = number(made.score), interval(made.low, made.high)
        rows.append(tuple(map(TableCell, ("score", *score, beside, title))))
        held_out = {measure.name: measure for measure in best.measures}
        named = {measure.name: measure for measure in made.measures}
        shown = (name for name in CARD_MEASURES if name in named)
        rows += [_card(named[name], held_out.get(name)) for name in shown]
    columns = ("measure", "value", "interval", "beside", "protocol")
    return Table("cards", "Key numbers", columns, tuple(rows))


def _card(measure: Measure, held_out: Measure | None) -> tuple[TableCell, ...]:
    count = f", {measure.count} judged" if measure.count else ""
    beside = [
        "" if isnan(measure.before) else f"untouched {number(measure.before)}",
        "" if held_out is None or isnan(held_out.value) else f"held out {number(held_out.value)}",
    ]
    return (
        TableCell(title_of(measure.name)),
        TableCell(number(measure.value), measure.value),
        TableCell(interval(measure.low, measure.high)),
        TableCell(", ".join(filter(None, beside))),
        TableCell(measure.protocol + count),
    )


def contenders_table(recommendation: Recommendation | None) -> Table:
    """The contenders with their measures on T and the recommended one's margin over them."""
    contenders = recommendation.contenders if recommendation else ()
    margins = {m.over: m for m in recommendation.margins} if recommendation else {}
    named = tuple(dict.fromkeys(m.name for c in contenders for m in c.measures))
    # Contenders may differ in what could be measured: columns are of any of them.
    shown = tuple(name for name in TRIAL_MEASURES if name in named)
    columns = ("contender", "location", "lr", "weights", "score on S", "score on V", "score on T")
    rows = []
    for c in contenders:
        by_name = {measure.name: measure.value for measure in c.measures}
        margin = margins.get(c.role)
        rows.append(
            (
                *_contender_cells(c),
                *(figure_cell(by_name.get(m, nan), names(c.violated, m)) for m in shown),
                TableCell(
                    f"{number(margin.value)} {interval(margin.low, margin.high)}" if margin else ""
                ),
            )
        )
    columns = (*columns, "95 %", *map(title_of, shown), "margin of the recommended")
    note = f"Chosen: {recommendation.reason}." if recommendation and recommendation.reason else ""
    count = contenders[0].edits if contenders else 0
    caption = f"Held out: tuned afresh and measured on T, {count} edits at a time"
    return Table("contenders", caption, columns, tuple(rows), note)


def _contender_cells(contender: Contender) -> tuple[TableCell, ...]:
    lr = contender.recipe.lr
    return (
        TableCell(contender.role),
        TableCell(str(contender.location)),
        TableCell("its own each" if isnan(lr) else rate(lr), lr),
        TableCell(millions(contender.parameter_count), contender.parameter_count),
        figure_cell(contender.score_s),
        figure_cell(contender.score_v),
        figure_cell(contender.score),
        TableCell(interval(contender.low, contender.high)),
    )


def fits_table(recommendation: Recommendation | None) -> Table:
    """The trials by which recipes were fitted to the edits that will be made."""
    deployment = recommendation.deployment if recommendation else None
    if recommendation is None or deployment is None:
        return Table("fits", "Fitted to the edits", (), ())
    rows = tuple(
        (
            TableCell(str(fit.location)),
            TableCell(rate(fit.lr), fit.lr),
            TableCell(str(fit.batch), fit.batch),
            figure_cell(fit.score),
            figure_cell(fit.perplexity_ratio, names(fit.violated, "perplexity_ratio")),
            TableCell("; ".join(map(in_words, fit.violated)), alarm=bool(fit.violated)),
        )
        for fit in deployment.fits
    )
    columns = ("location", "lr", "batch", "score on S and V", "perplexity ratio", "note")
    caption = f"Recipes fitted to {deployment.edits:,} edits"
    note = (
        "All of them are tuned; recipes are judged by the outcomes of the edits of S and V, and by "
        "the neutral texts that serve for choosing, within the bounds less half of the margin that "
        "choices on S keep. The numbers at the top are of the recipe used, over all its edits and "
        "on the other texts."
    )
    return Table("fits", caption, columns, rows, note)


def recipes_table(inputs: ReportInputs) -> Table:
    """A row per recipe, the whole matrices first; no rows where none was compared."""
    best = inputs.best
    runs: dict[str, list[TrialRecord]] = {}
    for record in inputs.trials:
        if best and on_reporting_split(record) and record.trial.location == best.location:
            runs.setdefault(record.trial.recipe.kind, []).append(record)
    # At another rate it is the trial of another contender at this location.
    full = [r for r in runs.pop("full", []) if best and r.trial.recipe.lr == best.recipe.lr]
    order = [kind for kind in RECIPES if kind in runs]
    compared = [full, *(runs[kind] for kind in order)] if runs else []
    rows = tuple(_recipe_row(trials, full) for trials in compared)
    caption = "Recipes at the recommended location"
    return Table("recipes", caption, RECIPE_COLUMNS, rows, RECIPE_NOTE)


def _recipe_row(
    trials: Sequence[TrialRecord], full: Sequence[TrialRecord]
) -> tuple[TableCell, ...]:
    first = trials[0]
    own = {record.trial.edits: record.score for record in full}
    # Paired by the subset of T, whose luck both had.
    gains = [r.score - own[r.trial.edits] for r in trials if r.trial.edits in own]
    broken = dict.fromkeys(in_words(line) for record in trials for line in record.violated)
    return (
        TableCell(first.trial.recipe.kind),
        TableCell(rate(first.trial.recipe.lr), first.trial.recipe.lr),
        TableCell(millions(first.parameter_count), first.parameter_count),
        figure_cell(_mean([record.score for record in trials])),
        figure_cell(_mean(gains)),
        *(figure_cell(_mean([r.measure(name).value for r in trials])) for name in RECIPE_MEASURES),
        TableCell("; ".join(broken) or "kept", alarm=bool(broken)),
    )


def _mean(values: Sequence[float]) -> float:
    measured = [value for value in values if not isnan(value)]
    return fmean(measured) if measured else nan
