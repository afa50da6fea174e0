"""What `locscope search` and `scan` print as their result: a table for people, or pure JSON."""

import json
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from locscope.display import LINES, visible
from locscope.records import Measure, Recommendation, ScanResult, ScanScore, dumps
from locscope.report.data.count_rows import count_line
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.objective_rows import bounds_line, objective_line
from locscope.report.data.protocol_rows import protocol_line
from locscope.report.data.recommendation_rows import contenders_table
from locscope.report.data.rows import Table, trials_table
from locscope.report.data.scan_rows import location_of, scans_table
from locscope.report.data.scorecard_rows import verdict_counts
from locscope.report.data.verdict import margin_lines, verdict_of

SCHEMA = 1
BEST_TRIALS = 5


def terminal_summary(inputs: ReportInputs) -> RenderableType:
    """The sentence, the verdict, and the contenders; without a recommendation the best trials.

    Of a run of scans: the scans.
    """
    verdict = verdict_of(inputs)
    if inputs.only_scans:
        return Group(_text(verdict.sentence, style="bold"), scan_summary(inputs.scans))
    colour = {"met": "green", "tie": "yellow"}.get(verdict.kind, "red")
    head = [_text(verdict.sentence, style="bold"), _text(verdict.badge, style=colour)]
    if inputs.best is not None:
        recommendation = inputs.recommendation
        head += [
            _text(line)
            for line in (*_why(recommendation), objective_line(inputs), bounds_line(inputs))
            if line
        ]
        margins = [_text(f"margin {line}") for line in margin_lines(inputs)]
        lines = (("protocols", protocol_line(inputs)), ("edit counts", count_line(inputs)))
        shown = [_text(f"{name} {line}") for name, line in lines if line]
        judged = [_text(f"scans {verdict_counts(inputs.scorecard)}")] if inputs.scorecard else []
        table = _upright(contenders_table(recommendation))
        return Group(*head, table, *margins, *shown, *judged)
    trials = trials_table(inputs)
    return Group(*head, *_best_trials(trials)) if trials.rows else Group(*head)


def _why(recommendation: Recommendation | None) -> tuple[str, ...]:
    """Why the location was chosen, and why numbers that seem to contradict each other do not."""
    if recommendation is None:
        return ()
    return (
        f"chosen: {recommendation.reason}" if recommendation.reason else "",
        *recommendation.notes,
    )


def _upright(table: Table) -> RichTable:
    """A contender per column: measures read downwards and fit a narrow terminal."""
    upright = RichTable(
        title=_text(table.caption),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    # Where it is narrow the words on the left make room; names of locations are never cut.
    upright.add_column("", overflow="fold")
    for row in table.rows:
        upright.add_column(_text(row[0].text), justify="right", no_wrap=True, overflow="fold")
    # The last column holds the margins: they get lines of their own below.
    for index, name in enumerate(table.columns[1:-1], start=1):
        upright.add_row(_text(name), *(_text(row[index].text) for row in table.rows))
    return upright


def _best_trials(table: Table) -> list[RenderableType]:
    shown = [table.columns.index(name) for name in ("location", "lr", "score", "note")]
    best = RichTable(title=_text(table.caption), title_justify="left")
    for index in shown:
        best.add_column(table.columns[index])
    for row in table.rows[:BEST_TRIALS]:
        best.add_row(*(_text(row[index].text) for index in shown))
    return [best]


def scan_summary(results: Iterable[ScanResult]) -> RenderableType:
    """A row per variant of every scan with its best locations, and below what the scans note."""
    results = tuple(results)
    data = scans_table(results)
    table = RichTable(title=_text(data.caption), title_justify="left", box=SIMPLE_HEAD)
    for column in ("scan", "variant", "usable", "best locations, best heads", "time"):
        right = column in ("usable", "time")
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    before = ""
    for row in data.rows:
        scan, variant, usable, locations, heads, seconds = (cell.text for cell in row)
        best = visible(locations) + (f"\nheads: {visible(heads)}" if heads else "")
        cells = ("" if scan == before else scan, variant, usable, best, seconds)
        table.add_row(*(_text(cell, keep=LINES) for cell in cells))
        before = scan
    notes: dict[str, list[str]] = {}
    for result in results:
        low = ("a low score recommends a location",) if result.descriptor.sign < 0 else ()
        for note in (*low, *filter(None, (result.settings,)), *result.notes):
            notes.setdefault(note, []).append(result.descriptor.name)
    return Group(table, *(_text(f"{', '.join(names)}: {note}") for note, names in notes.items()))


def _text(value: str, style: str = "", keep: str = "") -> Text:
    """A cell or line: no markup, and nothing raw of an input, so that columns are as wide as it."""
    return Text(visible(value, keep), style=style)


def scan_json(results: Iterable[ScanResult]) -> str:
    """Every variant of every scan as one JSON object; not measured is null.

    Heads are locations of their own (`L7.attn.h3`); a score with a role is of tokens of that role.
    """
    scans = [_plain_scan(scan, variant) for scan in results for variant in scan.variants or ("",)]
    return json.dumps({"schema": SCHEMA, "scans": scans}, indent=2, allow_nan=False)


def _plain_scan(scan: ScanResult, variant: str) -> dict[str, Any]:
    return {
        "scan": scan.descriptor.name,
        "variant": variant,
        "usable": scan.usable,
        "requests": scan.requests,
        "settings": scan.settings,
        "sign": scan.descriptor.sign,
        "notes": list(scan.notes),
        "scores": [_plain_score(score) for score in scan.scores if score.variant == variant],
    }


def _plain_score(score: ScanScore) -> dict[str, Any]:
    plain = _plain(score)
    numbers = {key: plain[key] for key in ("score", "low", "high", "count", "role")}
    return {"location": location_of(score), **numbers}


def search_json(inputs: ReportInputs) -> str:
    """The result as one JSON object; not measured is null."""
    recommendation, best, run = inputs.recommendation, inputs.best, inputs.run
    payload = {
        "schema": SCHEMA,
        "status": run.status,
        "verdict": verdict_of(inputs).kind,
        "location": str(best.location) if best else None,
        "recipe": _plain(recommendation.recipe) if recommendation and best else None,
        "measures": {m.name: _plain(m) for m in _final(recommendation)},
        "recommendation": _plain(recommendation) if recommendation else None,
        "scorecard": _plain(inputs.scorecard) if inputs.scorecard else None,
        "panels": [_plain(panel) for panel in inputs.panels],
        "trials": len(inputs.trials),
        "run": _plain(run),
    }
    return json.dumps(payload, indent=2, allow_nan=False)


def _final(recommendation: Recommendation | None) -> tuple[Measure, ...]:
    """The measures on the edits that will be made; those on T where there are none."""
    if recommendation is None or not recommendation.contenders:
        return ()
    return (
        recommendation.deployment.measures
        if recommendation.deployment
        else recommendation.best.measures
    )


def _plain(record: Any) -> Any:
    # Through the codec, so that not measured is null here as in every file.
    return json.loads(dumps(record))
