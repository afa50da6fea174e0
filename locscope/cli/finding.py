"""The commands that find locations: search, scan and check.

Each takes its settings, plans, acts, and prints its result. What it does is in `actions`, which is
imported only when the command runs: help must not wait for torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from locscope.cli import options
from locscope.cli.app import NOTHING_MET, command_line
from locscope.cli.options import with_settings
from locscope.settings import ScanSettings, SearchSettings
from locscope.settings.base import OUTPUT
from locscope.settings.scan import ScanChoices

commands = typer.Typer()
NOT_IN_SEARCH = ("first_step", *ScanChoices.model_fields)
"""Settings of a search that only a settings file or Python gives: experiments with the method."""
IN_CHECK = ("model", "edits", "limit", "seed", "conflicts", "parts")
IN_CHECK += ("device", "dtype", "trust_remote_code")
"""Settings of a search that a check reads; others are accepted in its settings file."""


@commands.command()
@with_settings(without=NOT_IN_SEARCH)
def search(
    settings: SearchSettings,
    output: options.Output = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="also write the model tuned as recommended to this directory",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    tracker: Annotated[
        str | None,
        typer.Option(help="who is told of every trial: wandb", rich_help_panel=OUTPUT),
    ] = None,
    fresh: options.Fresh = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="say what would be done, and what it takes", rich_help_panel=OUTPUT
        ),
    ] = False,
    format: options.Format = "table",
) -> None:
    """Searches, or says what a search would do; exits with 3 where nothing meets the bounds."""
    from locscope.cli import actions

    if tracker is not None:
        actions.check_tracker(tracker)
    if dry_run:
        actions.dry_run(settings, output, format)
        raise typer.Exit
    met = actions.search(settings, output, fresh, format, command_line(), tracker, save)
    raise typer.Exit(0 if met else NOTHING_MET)


@commands.command()
@with_settings(without=["abilities"])
def scan(
    settings: ScanSettings,
    output: options.Output = None,
    fresh: options.Fresh = False,
    format: options.Format = "table",
) -> None:
    """Scans; exits with 3 where no scan can use any of the edits."""
    from locscope.cli import actions

    usable = actions.scan(settings, output, fresh, format, command_line())
    raise typer.Exit(0 if usable else NOTHING_MET)


@commands.command()
@with_settings(only=IN_CHECK)
def check(settings: SearchSettings, format: options.Format = "table") -> None:
    """Checks; exits with 2 where the edits cannot be used."""
    from locscope.cli import actions

    raise typer.Exit(0 if actions.check(settings, format) else 2)
