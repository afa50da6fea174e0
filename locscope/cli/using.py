"""The commands that use what was found: edit, evaluate, report and list."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from locscope.cli import options
from locscope.cli.app import NOTHING_MET, guarded
from locscope.cli.options import with_settings
from locscope.settings import EditSettings, EvaluateSettings
from locscope.settings.base import OUTPUT, TUNING

commands = typer.Typer()
IN_SEARCHES = ("device_memory", "host_memory")
"""Settings of every verb that only searches and scans have use for: they cache activations."""


@commands.command()
@with_settings(without=IN_SEARCHES)
def edit(
    settings: EditSettings,
    output: Annotated[
        Path, typer.Option(help="directory for the edited model", rich_help_panel=OUTPUT)
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            help="recommendation.yaml, or the run folder it is in", rich_help_panel=TUNING
        ),
    ] = None,
    format: options.Format = "table",
) -> None:
    """Edits; exits with 3 where the model has not learned or is out of bounds."""
    from locscope.cli import actions

    ok = actions.edit(settings, config, output, format)
    raise typer.Exit(0 if ok else NOTHING_MET)


@commands.command()
@with_settings(without=IN_SEARCHES)
def evaluate(settings: EvaluateSettings, format: options.Format = "table") -> None:
    """Evaluates."""
    from locscope.cli import actions

    actions.evaluate(settings, format)


@commands.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="run folders; several are compared")],
    output: Annotated[Path | None, typer.Option(help="file for the page")] = None,
    optuna: Annotated[
        Path | None, typer.Option(help="write the trials of a run there as an Optuna study")
    ] = None,
) -> None:
    """Draws the report of one run, or of several beside each other."""
    _with_actions(lambda actions: actions.report(folders, output, optuna))


@commands.command("list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(help="models, edits, scans, measures, strategies, objectives or recipes"),
    ],
    format: options.Format = "table",
) -> None:
    """Prints one of the tables of what there is."""
    _with_actions(lambda actions: actions.listing(kind, format))


def _with_actions(act: Callable) -> None:
    with guarded():
        from locscope.cli import actions

        act(actions)
