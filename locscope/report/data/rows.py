"""Data of the tables and of the cards with the key numbers: cells in words, with a sort key."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from locscope.records import EditOutcome, Measure, TrialRecord
from locscope.report.data.inputs import ReportInputs, reported, standing
from locscope.report.data.words import (
    duration,
    in_words,
    names,
    number,
    rate,
    setting,
    title_of,
)
from locscope.runs.private import without_home
from locscope.runs.store import RENAMED

TRIAL_MEASURES = (
    "reliability",
    "reliability_strict",
    "generalization",
    "locality",
    "perplexity_ratio",
    "kl",
    "retention",
)
LONG_TEXT, LONGEST = 30, 300
"""Characters from which on a text has to break over lines, and those of a table at most."""
MOST_ROWS, MOST_TRIALS = 1000, 2500
"""Rows of one table in a page, and of that of trials; the note says how many were left out."""


@dataclass(frozen=True)
class TableCell:
    """What stands in a cell, and its sort key where it is a number (NaN sorts last).

    Of a location that it `opens`, a click on it shows all that is known.
    """

    text: str
    sort: float | None = None
    alarm: bool = False
    opens: bool = False

    @property
    def long(self) -> bool:
        """Whether it has to break over lines."""
        return len(self.text) > LONG_TEXT


@dataclass(frozen=True)
class Table:
    """A table; `note` says what the caption cannot."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers."""
        return tuple(
            bool(self.rows) and all(row[i].sort is not None for row in self.rows)
            for i in range(len(self.columns))
        )


def transposed(table: Table) -> Table:
    """Columns as rows: a table of few rows and many columns fits on a page that way.

    Example:
        >>> table = Table("t", "T", ("who", "score"), ((TableCell("a"), TableCell("1", 1.0)),))
        >>> [[cell.text for cell in row] for row in transposed(table).rows]
        [['score', '1']]
    """
    if not table.rows:
        return table
    columns = (table.columns[0], *(row[0].text for row in table.rows))
    rows = tuple(
        (TableCell(name), *(row[index] for row in table.rows))
        for index, name in enumerate(table.columns)
        if index > 0
    )
    return replace(table, columns=columns, rows=rows)


def figure_cell(value: float, alarm: bool = False) -> TableCell:
    """A cell with a number."""
    return TableCell(number(value), value, alarm)


def trials_table(inputs: ReportInputs, most: int = MOST_TRIALS) -> Table:
    """All trials, the best first; a row's last cell says what it violates or why it failed.

    Quick trials come after all others: their scores are of probabilities, on another scale.
    """
    measures = tuple(title_of(name) for name in TRIAL_MEASURES)
    columns = ("location", "split", "rung", "lr", "steps", *measures, "score", "time (s)", "note")
    ranked = sorted(inputs.trials, key=standing, reverse=True)
    # Stable, so that the order by standing stays within both kinds.
    records = sorted(ranked, key=lambda record: record.trial.quick)
    rows = tuple(_trial_row(record) for record in records[: min(most, MOST_TRIALS)])
    note = "Quick: read by probabilities on few edits, which is another scale."
    if len(records) > len(rows):
        note += f" The best {len(rows)} of {len(records)} trials: trials.parquet has all."
    caption = "Trials: quick ones last, those within the bounds first, then by score"
    return Table("trials", caption, columns, rows, note)


def _trial_row(record: TrialRecord) -> tuple[TableCell, ...]:
    trial, violated = record.trial, record.violated
    measured = [figure_cell(record.measure(m).value, names(violated, m)) for m in TRIAL_MEASURES]
    note = record.status if record.status != "done" else ""
    note = "; ".join(filter(None, (note, *map(in_words, violated))))
    return (
        TableCell(str(trial.location), opens=True),
        TableCell(trial.split),
        TableCell(trial.rung),
        TableCell(rate(trial.recipe.lr), trial.recipe.lr),
        TableCell(str(record.steps), record.steps),
        *measured,
        TableCell(number(record.score) + (" (quick)" if trial.quick else ""), record.score),
        TableCell(number(record.seconds), record.seconds),
        TableCell(note, alarm=bool(note)),
    )


def outcomes_table(inputs: ReportInputs) -> Table:
    """What became of every edit at the recommended location on T, the worst first."""
    records = reported(inputs)
    by_edit: dict[str, list[EditOutcome]] = defaultdict(list)
    for record in records:
        for outcome in record.outcomes:
            by_edit[outcome.edit].append(outcome)
    prompts = {edit.id: f"{edit.prompt} → {edit.target}" for edit in inputs.edits}
    # Cells are made of those that are shown alone: there may be a hundred thousand edits.
    worst = sorted(by_edit, key=lambda edit: _worst_first(by_edit[edit]))[:MOST_ROWS]
    rows = tuple(_outcome_row(prompts.get(edit, ""), edit, by_edit[edit]) for edit in worst)
    columns = ("edit", "times", "reliability", "strict", "generalization", "locality")
    columns = (*columns, "probability", "kept", "answer", "neighbours that broke")
    failed = sum(any(o.reliability < 1 for o in outcomes) for outcomes in by_edit.values())
    broke = sum(any(o.broken for o in outcomes) for outcomes in by_edit.values())
    note = f"{len(by_edit)} edits in {len(records)} repetitions, means over these: {failed} failed "
    note += f"at least once, neighbours of {broke} broke. Probability: of the target. Kept: that "
    note += "of the neighbours' untouched answers, min(1, p/p0)."
    note += f" The {MOST_ROWS} worst are shown." if len(by_edit) > MOST_ROWS else ""
    caption = "What became of every edit at the recommended location, on T"
    return Table("outcomes", caption, columns, rows, note)


def _outcome_row(prompt: str, edit: str, outcomes: list[EditOutcome]) -> tuple[TableCell, ...]:
    reliability = mean(o.reliability for o in outcomes)
    locality = mean(o.locality for o in outcomes)
    broken = dict.fromkeys(prompt for o in outcomes for prompt in o.broken)
    outputs = dict.fromkeys(o.output for o in outcomes if o.output)
    return (
        TableCell(_cut(f"{edit}: {prompt}" if prompt else edit)),
        TableCell(str(len(outcomes)), len(outcomes)),
        figure_cell(reliability, reliability < 1),
        figure_cell(mean(o.reliability_strict for o in outcomes)),
        figure_cell(mean(o.generalization for o in outcomes)),
        figure_cell(locality, locality < 1),
        figure_cell(mean(o.target_probability for o in outcomes)),
        figure_cell(mean(o.neighbour_kept for o in outcomes)),
        TableCell(_cut(" | ".join(outputs))),
        TableCell(_cut(" | ".join(broken)), alarm=bool(broken)),
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _worst_first(outcomes: Sequence[EditOutcome]) -> tuple[float, ...]:
    names = ("reliability", "generalization", "locality")
    keys = (mean(getattr(outcome, name) for outcome in outcomes) for name in names)
    # Above every share, so that what was not measured comes last.
    return tuple(2.0 if isnan(key) else key for key in keys)


def mean(values: Iterable[float]) -> float:
    """The mean of what was measured; NaN where nothing was."""
    measured = [value for value in values if not isnan(value)]
    return sum(measured) / len(measured) if measured else nan


def protocols_table(inputs: ReportInputs) -> Table:
    """Every measure with each protocol it was measured under anywhere in this run."""
    first_uses: dict[tuple[str, str], Measure] = {}
    contenders = inputs.recommendation.contenders if inputs.recommendation else ()
    for source in (*contenders, *inputs.trials):
        for measure in source.measures:
            first_uses.setdefault((measure.name, measure.protocol), measure)
    rows = tuple(
        (TableCell(title_of(name)), TableCell(protocol), TableCell(str(m.count), m.count))
        for (name, protocol), m in first_uses.items()
    )
    columns = ("measure", "protocol", "items judged (first use)")
    return Table("protocols", "How each number was measured", columns, rows)


def settings_of(inputs: ReportInputs) -> dict[str, str]:
    """The settings of a run by the names that they have now, in words."""
    return {
        RENAMED.get(name, name): setting(without_home(value))
        for name, value in inputs.run.settings.items()
    }


def provenance_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Settings, versions and stages of the run."""
    stages = tuple(
        (
            TableCell(stage.stage),
            TableCell(duration(stage.seconds), stage.seconds),
            TableCell(str(stage.tasks), stage.tasks),
            TableCell(str(stage.resumed), stage.resumed),
        )
        for stage in inputs.run.stages
    )
    return (
        Table("stages", "Stages", ("stage", "time", "tasks", "of them resumed"), stages),
        _pairs("settings", "Settings", settings_of(inputs)),
        _pairs("versions", "Versions", inputs.run.versions),
    )


def _pairs(name: str, caption: str, pairs: dict[str, str]) -> Table:
    rows = tuple((TableCell(key), TableCell(value)) for key, value in pairs.items())
    return Table(name, caption, ("name", "value"), rows)
