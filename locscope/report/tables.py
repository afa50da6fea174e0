"""What `locscope search` prints as its result: a table for people, or pure JSON."""

import json
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from locscope.records import dumps
from locscope.report.inputs import ReportInputs
from locscope.report.rows import Table, contenders_table, trials_table
from locscope.report.verdict import margin_lines, verdict_of

SCHEMA = 1
BEST_TRIALS = 5


def terminal_summary(inputs: ReportInputs) -> RenderableType:
    """The sentence, the verdict, and the contenders; without a recommendation the best trials."""
    verdict = verdict_of(inputs)
    colour = {"met": "green", "tie": "yellow"}.get(verdict.kind, "red")
    head = [Text(verdict.sentence, style="bold"), Text(verdict.badge, style=colour)]
    if inputs.best is not None:
        margins = [Text(f"margin {line}") for line in margin_lines(inputs)]
        return Group(*head, _upright(contenders_table(inputs.recommendation)), *margins)
    trials = trials_table(inputs)
    return Group(*head, *_best_trials(trials)) if trials.rows else Group(*head)


def _upright(table: Table) -> RichTable:
    """A contender per column: measures read downwards and fit a narrow terminal."""
    upright = RichTable(title=Text(table.caption), title_justify="left")
    upright.add_column("")
    for row in table.rows:
        upright.add_column(Text(row[0].text), justify="right")
    # The last column holds the margins: they get lines of their own below.
    for index, name in enumerate(table.columns[1:-1], start=1):
        upright.add_row(Text(name), *(Text(row[index].text) for row in table.rows))
    return upright


def _best_trials(table: Table) -> list[RenderableType]:
    shown = [table.columns.index(name) for name in ("location", "lr", "score", "note")]
    best = RichTable(title=Text(table.caption), title_justify="left")
    for index in shown:
        best.add_column(table.columns[index])
    for row in table.rows[:BEST_TRIALS]:
        best.add_row(*(Text(row[index].text) for index in shown))
    return [best]


def search_json(inputs: ReportInputs) -> str:
    """The result as one JSON object; not measured is null."""
    found, best, run = inputs.recommendation, inputs.best, inputs.run
    payload = {
        "schema": SCHEMA,
        "status": run.status,
        "verdict": verdict_of(inputs).kind,
        "location": best.location if best else None,
        "recipe": _plain(best.recipe) if best else None,
        "measures": {m.name: _plain(m) for m in best.measures} if best else {},
        "recommendation": _plain(found) if found else None,
        "scorecard": _plain(inputs.scorecard) if inputs.scorecard else None,
        "trials": len(inputs.trials),
        "run": _plain(run),
    }
    return json.dumps(payload, indent=2, allow_nan=False)


def _plain(record: Any) -> Any:
    return json.loads(dumps(record))
