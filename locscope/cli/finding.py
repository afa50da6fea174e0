"""The commands that find locations: search, scan and check.

Each takes its settings, plans, acts, and prints its result. What it needs is imported when it runs:
help must not wait for torch.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from locscope.cli import completion, options
from locscope.cli.app import NOTHING_MET, command_line
from locscope.cli.options import option, with_settings
from locscope.cli.written import split
from locscope.errors import UsageError
from locscope.progress import WHOLE, stage
from locscope.settings import ScanSettings, SearchSettings
from locscope.settings.base import BOUNDS, OUTPUT, settings_of
from locscope.settings.scan import ScanChoices

if TYPE_CHECKING:
    from locscope.report.data.inputs import ReportInputs
    from locscope.workflows.early.edits import Parted

commands = typer.Typer()


def _trackers() -> list[str]:
    from locscope.integrations.trackers import TRACKERS

    return list(TRACKERS)


NOT_IN_SEARCH = ("first_step", *ScanChoices.model_fields)
"""Settings of a search that only a settings file or Python gives: experiments with the method."""
IN_CHECK = ("model", "edits", "limit", "seed", "conflicts", "parts")
IN_CHECK += ("device", "dtype", "offload", "trust_remote_code")
"""Settings of a search that a check reads; others are accepted in its settings file."""
OF_SEARCH = ("output", "save", "tracker", "fresh", "dry_run", "quiet")
OF_SEARCH += ("retain", "retain_samples", "include_path")
"""Options of a search that its settings file may hold, whoever reads it."""
Save = Annotated[
    Path | None,
    typer.Option(
        help="also write the model tuned as recommended to this directory",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
Tracker = Annotated[
    str | None,
    option(
        "tracker",
        help="who is told of every trial: wandb, mlflow, tensorboard or trackio",
        panel=OUTPUT,
        metavar="NAME",
        autocompletion=completion.of_names(_trackers),
    ),
]
Retain = Annotated[
    Any,
    option(
        "retain",
        parser=split,
        help="tasks of lm-evaluation-harness (multiple choice) whose first items bound retention, "
        "as mmlu (extra eval)",
        panel=BOUNDS,
        metavar="A,B",
    ),
]
RetainSamples = Annotated[
    int,
    option(
        "retain_samples",
        help="items of each of these tasks, the first ones (default: 50)",
        show_default=False,
        panel=BOUNDS,
        metavar="N",
        min=1,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="say what would be done, and what it takes",
        rich_help_panel=OUTPUT,
        metavar="",
    ),
]


@commands.command()
@with_settings(SearchSettings, without=NOT_IN_SEARCH)
def search(
    settings: SearchSettings,
    *,
    output: options.Output = None,
    save: Save = None,
    retain: Retain = None,
    retain_samples: RetainSamples = 50,
    include_path: options.IncludePath = None,
    tracker: Tracker = None,
    fresh: options.Fresh = False,
    dry_run: DryRun = False,
    quiet: options.Quiet = False,
    format: options.Format = "table",
) -> None:
    """Searches, or says what a search would do; exits with 3 where nothing meets the bounds."""
    from locscope.integrations.trackers import check_tracker, open_tracker
    from locscope.workflows.early.precheck import before_search

    if tracker is not None:
        check_tracker(tracker)
    split = before_search(settings, output, save)
    if retain:
        settings = _retaining(settings, retain, include_path, retain_samples, dry_run)
    from locscope.cli.listener import listener
    from locscope.workflows.saving import check_output
    from locscope.workflows.search.plan import plan_search
    from locscope.workflows.search.run import search as run_search

    if dry_run:
        _dry_run(settings, output, split, format, quiet, fresh=fresh)
        raise typer.Exit
    # Refused now rather than after hours of searching.
    if save is not None:
        check_output(save)
    # One stage around all, so that its bar shows how much of the whole search is left.
    progress = listener(quiet)
    with stage(progress, "searching", WHOLE):
        plan = plan_search(settings, output, progress, split=split)
        folder, told = plan.folder, None
        if tracker is not None:
            told = open_tracker(tracker, folder.name, plan.frozen, folder.parent, progress)
        outcome = run_search(
            plan, progress, fresh=fresh, command=command_line(), tracker=told, save=save
        )
    if save is not None:
        progress.say(f"saved to {save}")
    _print_search(outcome.inputs, format)
    progress.say(f"report: {outcome.folder / 'report.html'}")
    found = outcome.inputs.recommendation
    raise typer.Exit(0 if found is not None and found.met else NOTHING_MET)


def _print_search(inputs: "ReportInputs", format: str) -> None:
    from locscope.cli.printing import say_json, show
    from locscope.report.output.terminal import search_json, terminal_summary

    if format == "json":
        say_json(search_json(inputs))
    else:
        show(terminal_summary(inputs))


def _retaining(
    settings: SearchSettings,
    tasks: Sequence[str],
    include_path: Path | None,
    count: int,
    dry_run: bool,
) -> SearchSettings:
    """The settings with a file of abilities, sampled from these tasks."""
    from locscope.integrations.harness import abilities_file

    if dry_run:
        raise UsageError(
            "--dry-run writes nothing, and --retain writes a file of abilities: leave one out"
        )
    if settings.abilities is not None:
        raise UsageError("--retain writes a file of abilities: give it, or --abilities, not both")
    file = abilities_file(Path("runs"), tuple(tasks), include_path, count, settings.seed)
    return settings_of(
        SearchSettings, {**settings.model_dump(exclude_unset=True), "abilities": file}
    )


def _dry_run(
    settings: SearchSettings,
    output: Path | None,
    split: "Parted | None",
    format: str,
    quiet: bool,
    *,
    fresh: bool,
) -> None:
    """Loads the model, plans, calibrates, and prints what the search would take.

    Raises UsageError where the search would be refused for a run with other settings in its folder.
    """
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_rows, say_json
    from locscope.records import dumps
    from locscope.runs.folder import refuse_other_settings
    from locscope.workflows.dry_run.run import dry_run
    from locscope.workflows.search.plan import plan_search

    progress = listener(quiet)
    progress.say("dry run: the model is loaded and tried, nothing is written")
    # Loading the model is a part of what a search takes, so the clock starts before it.
    began = time.perf_counter()
    plan = plan_search(settings, output, progress, split=split)
    if not fresh:
        refuse_other_settings(plan.folder, plan.frozen)
    forecast = dry_run(plan, progress, time.perf_counter() - began)
    if format == "json":
        say_json(dumps(forecast, indent=2))
    else:
        print_rows([(line.name, line.value) for line in forecast.lines])


@commands.command()
@with_settings(ScanSettings, without=["abilities"])
def scan(
    settings: ScanSettings,
    *,
    output: options.Output = None,
    fresh: options.Fresh = False,
    quiet: options.Quiet = False,
    format: options.Format = "table",
) -> None:
    """Scans; exits with 3 where no scan can use any of the edits."""
    from locscope.workflows.early.precheck import before_scan

    before_scan(settings, output)
    from locscope.cli.listener import listener
    from locscope.cli.printing import say_json, show
    from locscope.report.output.terminal import scan_json, scan_summary
    from locscope.workflows.scan import plan_scan
    from locscope.workflows.scan import scan as run_scans

    progress = listener(quiet)
    with stage(progress, "scanning", WHOLE):
        plan = plan_scan(settings, output, progress)
        outcome = run_scans(plan, progress, fresh=fresh, command=command_line())
    if format == "json":
        say_json(scan_json(outcome.inputs.scans))
    else:
        show(scan_summary(outcome.inputs.scans))
    if not outcome.usable:
        listener().say("no scan could use any of the edits")
    progress.say(f"report: {outcome.folder / 'report.html'}")
    raise typer.Exit(0 if outcome.usable else NOTHING_MET)


@commands.command()
@with_settings(SearchSettings, only=IN_CHECK, aside=OF_SEARCH)
def check(settings: SearchSettings, *, format: options.Format = "table") -> None:
    """Checks, edits alone where no model is named; exits with 2 where they cannot be used."""
    from locscope.cli.printing import print_rows, say_json
    from locscope.records import dumps
    from locscope.workflows.edit_files import check_edits, edits_alone

    if edits_alone(settings):
        result = check_edits(settings)
    else:
        from locscope.workflows.early.precheck import before_check

        edits = before_check(settings)
        from locscope.workflows.check import check as run_check

        result = run_check(settings, edits)
    if format == "json":
        say_json(dumps(result, indent=2))
    else:
        print_rows([(line.name, line.value) for line in result.lines])
    raise typer.Exit(0 if result.usable else 2)
