"""Data of heatmaps, and those of trials: layers x parts. Numbers only, no drawing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, log10, nan

from locscope.locations import PARTS, Location
from locscope.records import TokenMap, TrialRecord
from locscope.report.data.inputs import Cell, ReportInputs, by_cell, cell_of, in_full, sweep
from locscope.report.data.page.bars import Bar, bars_of, wide_trials
from locscope.report.data.words import duration, in_words, number, rate, short, title_of


@dataclass(frozen=True)
class Heatmap:
    """A grid of values, rows from the bottom up; NaN where there is none.

    `values` give the colours (on a log scale where `ticks` translate them back), `cells` is the
    text in the cells and `hover` the text on hover, both with the true value. `centred` asks for
    colours that diverge from zero, `good` is +1 where high values are good and -1 where low are.
    `across` says what the columns are; `labels` stand under them where their names, which must
    differ, are not for people, `upright` if they are long; `banded` columns are set apart.
    `recommended` is row and column of the recommended location, which takes `recommended_rows` of
    that column, where it is shown. Beside others, a heatmap goes by its `choice`, and tables of the
    same `variant` belong to it. `locations` name what the cells are of, where that can be tuned;
    `bars` are those that take several rows, each the column and its rows. `span` are the ends of
    the colours where they are not those of the values. `facts` are maps of other prompts that can
    stand in its place.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    cells: tuple[tuple[str, ...], ...]
    hover: tuple[tuple[str, ...], ...]
    note: str = ""
    centred: bool = False
    good: int = 1
    recommended: tuple[int, int] | None = None
    ticks: tuple[tuple[float, str], ...] = ()
    across: str = "parts"
    labels: tuple[str, ...] = ()
    upright: bool = False
    banded: tuple[int, ...] = ()
    choice: str = ""
    variant: str = ""
    recommended_rows: int = 1
    locations: tuple[tuple[str, ...], ...] = ()
    bars: tuple[tuple[int, tuple[int, ...]], ...] = ()
    span: tuple[float, float] | None = None
    facts: tuple[TokenMap, ...] = ()

    @property
    def measured(self) -> tuple[float, ...]:
        """All finite values."""
        return tuple(value for row in self.values for value in row if isfinite(value))


MARKS = {
    "perplexity_ratio": (1.001, 1.002, 1.005, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 11),
    "kl": (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
}
"""Values that are marked on the log scales of measures of what is lost: low is good, and
differences count near nothing lost. Of a ratio matters how far it is above 1."""
NOTHING_LOST = {"perplexity_ratio": 1.0, "kl": 0.0}


def placed(measure: str, value: float) -> float:
    """Where the value stands on its measure's scale: beyond the outer marks of a log scale it is at
    them."""
    if isnan(value) or measure not in MARKS:
        return float(value)
    # A ratio below 1 has no logarithm of its excess; it counts as nothing lost.
    inside = min(max(value, MARKS[measure][0]), MARKS[measure][-1])
    return log10(inside - NOTHING_LOST[measure])


def ticks_among(measure: str, values: Iterable[float]) -> tuple[tuple[float, str], ...]:
    """Marks among the placed values, far enough apart to be read, each with the true value; none of
    a measure without a log scale."""
    marks, measured = MARKS.get(measure, ()), [value for value in values if not isnan(value)]
    if not measured or not marks:
        return ()
    low, high = min(measured), max(measured)
    ends = {marks[0]: "≤", marks[-1]: "≥"}
    chosen: list[tuple[float, str]] = []
    for mark in marks:
        at = placed(measure, mark)
        # A seventh of the span is about the width of a label.
        apart = not chosen or at - chosen[-1][0] >= (high - low) / 7
        if low - 1e-9 <= at <= high + 1e-9 and apart:
            chosen.append((at, f"{ends.get(mark, '')}{mark:g}"))
    return tuple(chosen)


EFFICACY_VIEWS = {
    "score": "What trials are ranked by, under the bounds on collapse.",
    "reliability": "Share of edits answered with the new target.",
    "generalization": "Share of rephrases answered with the new target.",
    "locality": (
        "Share of neighbours with the untouched model's tokens, as many as their answer has."
    ),
    "target_probability": "Of the new target, token by token.",
    "rephrase_probability": "Of the new target after rephrases.",
    "neighbour_kept": "What is left of the probability of the neighbours' answers.",
}
"""Measures that are shown one at a time, each with a note on how to read it."""
COLLAPSE_VIEWS = {
    "perplexity_ratio": (
        "Tuned over untouched on neutral text, coloured by the log of its excess over 1."
    ),
    "kl": "KL(untouched || tuned) on neutral text, coloured by its log.",
    "retention": "Accuracy on abilities, relative to the untouched model.",
}
AT_FIRST = "On rung 1: few edits and epochs, by probabilities; it ranks, it is no outcome."
QUICK = ("target_probability", "rephrase_probability", "neighbour_kept")
IN_FULL = "Of the locations that were run in full, at their best rates."


def trial_heatmaps(inputs: ReportInputs, views: Mapping[str, str]) -> tuple[Heatmap, ...]:
    """A heatmap per measure that any trial of the sweep, or else of rung 1, has; `views` are notes
    by measure.

    After rung 1, another shows the score of what was run in full.
    """
    trials = sweep(inputs.trials)
    quick_trials = any(record.trial.quick for record in trials)
    shown = {name: note for name, note in views.items() if quick_trials or name not in QUICK}
    if quick_trials:
        shown = {name: f"{note} {AT_FIRST}" for name, note in shown.items()}
    drawn = [trial_heatmap(inputs, trials, *view) for view in shown.items()] if trials else []
    if quick_trials:
        # Rung 1 and full trials are two scales, and only one of them stands in a heatmap.
        drawn = [replace(h, choice=f"{h.title}, {_rung(trials)}") for h in drawn]
    if quick_trials and "score" in shown:
        # Second, as its scale is that of the recommendation and not that of rung 1.
        drawn.insert(1, _in_full(inputs))
    return tuple(heatmap for heatmap in drawn if heatmap.measured)


def _rung(trials: Sequence[TrialRecord]) -> str:
    first = trials[0].trial
    return f"{first.rung} ({len(first.edits)} edits, quick)"


def _in_full(inputs: ReportInputs) -> Heatmap:
    trials = in_full(inputs.trials)
    heatmap = trial_heatmap(inputs, trials, "score", IN_FULL)
    edits = f" ({len(trials[0].trial.edits)} edits)" if trials else ""
    title = "Score, run in full"
    return replace(heatmap, name="score-in-full", title=title, choice=f"score, run in full{edits}")


def trial_heatmap(
    inputs: ReportInputs, records: Sequence[TrialRecord], measure: str, note: str
) -> Heatmap:
    """One measure of trials of one rung over all layers: a column per part that was tried, then
    lanes of bars for the locations of several layers.

    The recommended location has its place also where these trials are not of it.
    """
    layers, cells, wide = range(inputs.run.model.layers), by_cell(records), wide_trials(records)
    best = str(inputs.best.location) if inputs.best else ""
    alone = cell_of(Location.parse(best)) if best else None
    bars = bars_of((*wide, *([best] if best and alone is None else [])))
    parts = _in_order((*(part for _, part in cells), *([alone[1]] if alone else [])))
    columns = (*parts, *dict.fromkeys(bar.lane for bar in bars))
    found: dict[Cell, tuple[str, TrialRecord | None]] = {
        **{(layer, part): (f"L{layer}.{part}", None) for layer in layers for part in parts},
        **{cell: (str(record.trial.location), record) for cell, record in cells.items()},
        **{(row, b.lane): (b.location, wide.get(b.location)) for b in bars for row in b.rows},
    }
    true = {cell: _value(record, measure) for cell, (_, record) in found.items() if record}
    # A bar has its number once, in its middle.
    named = {(b.rows[len(b.rows) // 2], b.lane) for b in bars}
    values = grid(layers, columns, lambda cell: placed(measure, true.get(cell, nan)))
    text = lambda c: short(true.get(c, nan)) if c[1] in parts or c in named else ""  # noqa: E731
    hover = lambda c: _trial_hover(*found[c], measure) if c in found else ""  # noqa: E731
    row, column, rows = _outlined(best, alone, bars) or (0, "", 0)
    return Heatmap(
        measure,
        title_of(measure),
        tuple(map(str, layers)),
        columns,
        values,
        grid(layers, columns, text),
        grid(layers, columns, hover),
        note,
        good=-1 if measure in MARKS else 1,
        recommended=(row, columns.index(column)) if rows else None,
        recommended_rows=max(rows, 1),
        ticks=ticks_among(measure, (v for row in values for v in row)),
        locations=grid(layers, columns, lambda cell: found[cell][0] if cell in found else ""),
        bars=tuple((columns.index(bar.lane), bar.rows) for bar in bars),
    )


def _outlined(best: str, cell: Cell | None, bars: Sequence[Bar]) -> tuple[int, str, int] | None:
    """First row, column and number of rows of the recommended location."""
    if cell is not None:
        return (*cell, 1)
    own = next((bar for bar in bars if bar.location == best), None)
    # Joined layers may have others between them, which its outline takes in.
    return (own.rows[0], own.lane, own.rows[-1] - own.rows[0] + 1) if own else None


def _value(record: TrialRecord, measure: str) -> float:
    return record.score if measure == "score" else record.measure(measure).value


def has_both_signs(values: Iterable[float]) -> bool:
    """Whether the sign tells something: there are values below and above zero."""
    numbers = tuple(values)
    return any(value < 0 for value in numbers) and any(value > 0 for value in numbers)


def colour_key(good: int, centred: bool) -> str:
    """How to read the colours of scores of which high (+1) or low (-1) ones are good."""
    start = "" if good > 0 else "A low score recommends a location. "
    if centred:
        below, above = ("red", "blue") if good > 0 else ("blue", "red")
        return f"{start}White is zero, {above} above and {below} below it."
    return f"{start}Bright is {'high' if good > 0 else 'low'}."


def part_order(part: str) -> int:
    """Where a part stands among all: the order of the design, unknown ones last."""
    return PARTS.index(part) if part in PARTS else len(PARTS)


def _in_order(parts: Iterable[str]) -> tuple[str, ...]:
    # In the same order in every figure, whichever part was tried first.
    return tuple(sorted(set(parts), key=part_order))


def grid(layers: Iterable[int], columns: tuple[str, ...], of: Callable) -> tuple[tuple, ...]:
    """What `of` gives for every layer and column."""
    return tuple(tuple(of((layer, column)) for column in columns) for layer in layers)


def recommended_cell(
    inputs: ReportInputs,
    columns: tuple[str, ...],
    cell: Callable[[Location], Cell | None] = cell_of,
) -> tuple[int, int] | None:
    """Row and column of the recommended location, where it is a `cell` of one of the columns."""
    layer_and_column = cell(inputs.recommendation.location) if inputs.recommendation else None
    if layer_and_column is None or layer_and_column[1] not in columns:
        return None
    # Rows are layers from 0 up, so that a layer is its own row.
    layer, column = layer_and_column
    return layer, columns.index(column)


def _trial_hover(location: str, record: TrialRecord | None, name: str) -> str:
    if record is None:
        return f"{location}\nnot tried"
    measure = record.measure(name)
    before = "" if isnan(measure.before) else f" (before {number(measure.before)})"
    lines = [
        location,
        f"{title_of(name)} {number(_value(record, name))}{before}",
        f"lr {rate(record.trial.recipe.lr)}, {record.steps} steps, {duration(record.seconds)}",
    ]
    if record.violated:
        lines += map(in_words, record.violated)
    return "\n".join(lines if record.status == "done" else [*lines, record.status])
