"""The commands that find locations: search, scan and check.

Each takes its settings, plans, acts, and prints its result. What it needs is imported when it runs:
help must not wait for torch.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from locscope.cli import options
from locscope.cli.app import NOTHING_MET, command_line
from locscope.cli.options import read_settings, with_settings
from locscope.progress import WHOLE, stage
from locscope.settings import ScanSettings, SearchSettings
from locscope.settings.base import OUTPUT
from locscope.settings.scan import ScanChoices

commands = typer.Typer()
NOT_IN_SEARCH = ("first_step", *ScanChoices.model_fields)
"""Settings of a search that only a settings file or Python gives: experiments with the method."""
IN_CHECK = ("model", "edits", "limit", "seed", "conflicts", "parts")
IN_CHECK += ("device", "dtype", "trust_remote_code")
"""Settings of a search that a check reads; others are accepted in its settings file."""
Save = Annotated[
    Path | None,
    typer.Option(
        help="also write the model tuned as recommended to this directory", rich_help_panel=OUTPUT
    ),
]
Tracker = Annotated[
    str | None, typer.Option(help="who is told of every trial: wandb", rich_help_panel=OUTPUT)
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="say what would be done, and what it takes", rich_help_panel=OUTPUT
    ),
]


@commands.command()
@with_settings(SearchSettings, without=NOT_IN_SEARCH)
def search(
    *,
    file: options.SettingsFile = None,
    output: options.Output = None,
    save: Save = None,
    tracker: Tracker = None,
    fresh: options.Fresh = False,
    dry_run: DryRun = False,
    format: options.Format = "table",
    **written: Any,
) -> None:
    """Searches, or says what a search would do; exits with 3 where nothing meets the bounds."""
    settings = read_settings(SearchSettings, file, written)
    from locscope.cli.listener import listener
    from locscope.cli.printing import say_json, show
    from locscope.integrations.trackers import check_tracker, open_tracker
    from locscope.report.output.terminal import search_json, terminal_summary
    from locscope.workflows.saving import check_output
    from locscope.workflows.search.plan import plan_search
    from locscope.workflows.search.run import search as run_search

    if tracker is not None:
        check_tracker(tracker)
    if dry_run:
        _dry_run(settings, output, format)
        raise typer.Exit
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
        outcome = run_search(
            plan, progress, fresh=fresh, command=command_line(), tracker=told, save=save
        )
    if save is not None:
        progress.say(f"saved to {save}")
    if format == "json":
        say_json(search_json(outcome.inputs))
    else:
        show(terminal_summary(outcome.inputs))
    progress.say(f"report: {outcome.folder / 'report.html'}")
    found = outcome.inputs.recommendation
    raise typer.Exit(0 if found is not None and found.met else NOTHING_MET)


def _dry_run(settings: SearchSettings, output: Path | None, format: str) -> None:
    """Loads the model, plans, calibrates, and prints what the search would take."""
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_rows, say_json
    from locscope.records import dumps
    from locscope.workflows.dry_run.run import dry_run
    from locscope.workflows.search.plan import plan_search

    progress = listener()
    progress.say("dry run: the model is loaded and tried, nothing is written")
    # Loading the model is a part of what a search takes, so the clock starts before it.
    began = time.perf_counter()
    plan = plan_search(settings, output, progress)
    forecast = dry_run(plan, progress, time.perf_counter() - began)
    if format == "json":
        say_json(dumps(forecast, indent=2))
    else:
        print_rows([(line.name, line.value) for line in forecast.lines])


@commands.command()
@with_settings(ScanSettings, without=["abilities"])
def scan(
    *,
    file: options.SettingsFile = None,
    output: options.Output = None,
    fresh: options.Fresh = False,
    format: options.Format = "table",
    **written: Any,
) -> None:
    """Scans; exits with 3 where no scan can use any of the edits."""
    settings = read_settings(ScanSettings, file, written)
    from locscope.cli.listener import listener
    from locscope.cli.printing import say_json, show
    from locscope.report.output.terminal import scan_json, scan_summary
    from locscope.workflows.scan import plan_scan
    from locscope.workflows.scan import scan as run_scans

    progress = listener()
    plan = plan_scan(settings, output, progress)
    outcome = run_scans(plan, progress, fresh=fresh, command=command_line())
    if format == "json":
        say_json(scan_json(outcome.inputs.scans))
    else:
        show(scan_summary(outcome.inputs.scans))
    if not outcome.usable:
        progress.say("no scan could use any of the edits")
    progress.say(f"report: {outcome.folder / 'report.html'}")
    raise typer.Exit(0 if outcome.usable else NOTHING_MET)


@commands.command()
@with_settings(SearchSettings, only=IN_CHECK)
def check(
    *, file: options.SettingsFile = None, format: options.Format = "table", **written: Any
) -> None:
    """Checks, edits alone where no model is named; exits with 2 where they cannot be used."""
    settings = read_settings(SearchSettings, file, written)
    from locscope.cli.printing import print_rows, say_json
    from locscope.records import dumps
    from locscope.workflows.edit_files import check_edits, edits_alone

    if edits_alone(settings):
        result = check_edits(settings)
    else:
        from locscope.workflows.check import check as run_check

        result = run_check(settings)
    if format == "json":
        say_json(dumps(result, indent=2))
    else:
        print_rows([(line.name, line.value) for line in result.lines])
    raise typer.Exit(0 if result.usable else 2)
