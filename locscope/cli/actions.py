"""What the commands do with their settings. Imported by a command only when it runs."""

import json
import time
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from locscope.cli.listener import listener
from locscope.progress import WHOLE, stage
from locscope.records import Measure, dumps
from locscope.settings import EditSettings, EvaluateSettings, ScanSettings, SearchSettings


def check_tracker(name: str) -> None:
    """Raises UsageError, with near names, where there is no such tracker."""
    from locscope.integrations.trackers import check_tracker

    check_tracker(name)


def search(
    settings: SearchSettings,
    output: Path | None,
    fresh: bool,
    format: str,
    command: str,
    tracker: str | None = None,
    save: Path | None = None,
) -> bool:
    """Searches and prints the result; whether the bounds were met.

    A tracker is told of every trial, and the recommended model is written to `save`. Raises
    UsageError where the search cannot start.
    """
    from locscope.integrations.trackers import open_tracker
    from locscope.report.output.terminal import search_json, terminal_summary
    from locscope.workflows.saving import check_output
    from locscope.workflows.search.plan import plan_search
    from locscope.workflows.search.run import search as run

    # Refused now rather than after hours of searching.
    if save is not None:
        check_output(save)
    # One stage around all, so that its bar shows how much of the whole search is left.
    progress = listener()
    with stage(progress, "searching", WHOLE):
        plan = plan_search(settings, output, progress)
        folder, told = plan.folder, None
        if tracker is not None:
            told = open_tracker(tracker, folder.name, plan.frozen, folder.parent, progress)
        outcome = run(plan, progress, fresh=fresh, command=command, tracker=told, save=save)
    if save is not None:
        progress.say(f"saved to {save}")
    if format == "json":
        _say(search_json(outcome.inputs))
    else:
        Console().print(terminal_summary(outcome.inputs))
    progress.say(f"report: {outcome.folder / 'report.html'}")
    return outcome.inputs.recommendation is not None and outcome.inputs.recommendation.met


def scan(
    settings: ScanSettings, output: Path | None, fresh: bool, format: str, command: str
) -> bool:
    """Scans and prints the results; whether any scan could use any edit."""
    from locscope.report.output.terminal import scan_json, scan_summary
    from locscope.workflows.scan import plan_scan
    from locscope.workflows.scan import scan as run

    progress = listener()
    outcome = run(plan_scan(settings, output, progress), progress, fresh=fresh, command=command)
    if format == "json":
        _say(scan_json(outcome.inputs.scans))
    else:
        Console().print(scan_summary(outcome.inputs.scans))
    if not outcome.usable:
        progress.say("no scan could use any of the edits")
    progress.say(f"report: {outcome.folder / 'report.html'}")
    return outcome.usable


def edit(settings: EditSettings, config: Path | None, output: Path, format: str) -> bool:
    """Edits and prints the measures; whether the edited model has learned and keeps the bounds."""
    from locscope.models.parts import summary
    from locscope.scoring.objectives import nothing_learned
    from locscope.workflows.edit import edit as run
    from locscope.workflows.edit import plan_edit

    progress = listener()
    plan = plan_edit(settings, config, output)
    progress.say(f"tuning {summary(plan.loaded.model, plan.location)}")
    record = run(plan, progress)
    progress.say(f"saved to {output}")
    if format == "json":
        _say(dumps(record, indent=2))
    else:
        _print_measures(record.measures, f"{record.trial.location} at {record.trial.recipe.lr:g}")
    missed = [f"out of bounds: {line}" for line in record.violated]
    missed += nothing_learned(record.measures, plan.objective)
    for line in missed:
        progress.say(line)
    return not missed


def evaluate(settings: EvaluateSettings, format: str) -> None:
    """Evaluates and prints the measures."""
    from locscope.workflows.evaluate import evaluate as run
    from locscope.workflows.evaluate import evaluate_json, plan_evaluate

    measures = run(plan_evaluate(settings), listener())
    if format == "json":
        _say(evaluate_json(measures))
    else:
        _print_measures(measures, settings.model)


def check(settings: SearchSettings, format: str) -> bool:
    """Checks and prints the result; whether `edit` can use the edits."""
    from locscope.workflows.check import check as run

    result = run(settings)
    if format == "json":
        _say(dumps(result, indent=2))
    else:
        _print_rows([(line.name, line.value) for line in result.lines])
    return result.usable


def dry_run(settings: SearchSettings, output: Path | None, format: str) -> None:
    """Loads the model, plans, calibrates, and prints what the search would take."""
    from locscope.workflows.dry_run.run import dry_run as run
    from locscope.workflows.search.plan import plan_search

    progress = listener()
    progress.say("dry run: the model is loaded and tried, nothing is written")
    # Loading the model is a part of what a search takes, so the clock starts before it.
    began = time.perf_counter()
    plan = plan_search(settings, output, progress)
    forecast = run(plan, progress, time.perf_counter() - began)
    if format == "json":
        _say(dumps(forecast, indent=2))
    else:
        _print_rows([(line.name, line.value) for line in forecast.lines])


def report(folders: Sequence[Path], output: Path | None, study: Path | None = None) -> None:
    """Draws and prints where the page is."""
    from locscope.workflows.report import report as run

    _say(str(run(folders, output, study, listener())))


def listing(kind: str, format: str) -> None:
    """Prints a table of what there is."""
    from locscope.workflows.listing import listing as rows

    table = rows(kind)
    if format == "json":
        _say(json.dumps(dict(table), indent=2))
    else:
        _print_rows(table)


def _print_measures(measures: Sequence[Measure], title: str) -> None:
    from locscope.evaluation.measures import listed

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("measure", "value", "95 %", "before", "count"):
        left = name == "measure"
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    for row in listed(measures):
        interval = "" if isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}"
        table.add_row(row.name, _number(row.value), interval, _number(row.before), str(row.count))
    Console().print(table)


def _number(value: float) -> str:
    return "not measured" if isnan(value) else f"{value:.3f}"


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        # As Text: a bracket in a value would be read as markup.
        table.add_row(Text(name), Text(value))
    Console().print(table)


def _say(text: str) -> None:
    """Plain text to stdout, as it is."""
    Console(soft_wrap=True).out(text, highlight=False)
