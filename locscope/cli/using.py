"""The commands that use what was found: edit, evaluate, report and list."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from locscope.cli import options
from locscope.cli.guard import NOTHING_MET, guarded
from locscope.cli.options import given
from locscope.cli.root import app


@app.command()
def edit(
    output: Annotated[Path, typer.Option(help="directory for the edited model")],
    model: options.Model = None,
    edits: options.Edits = None,
    config: Annotated[
        Path | None, typer.Option(help="recommendation.yaml, or the run folder it is in")
    ] = None,
    location: Annotated[str | None, typer.Option(help="as L22.mlp.down")] = None,
    recipe: Annotated[str | None, typer.Option(help="full (default); see list recipes")] = None,
    lr: Annotated[
        float | None, typer.Option(help="learning rate of Adam; else where a search starts")
    ] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    prefixes: options.Prefixes = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    abilities: options.Abilities = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Tune one location on all edits and save the edited model."""
    wanted = given(locals(), "output", "config", "settings", "format")
    with guarded():
        from locscope.cli import actions

        ok = actions.edit(settings, wanted, config, output, format)
    raise typer.Exit(0 if ok else NOTHING_MET)


@app.command()
def evaluate(
    model: options.Model = None,
    edits: options.Edits = None,
    base: Annotated[
        str | None, typer.Option(help="the untouched model; default: recorded at saving")
    ] = None,
    seed: options.Seed = None,
    limit: options.Limit = None,
    prompt_format: options.PromptFormat = None,
    conflicts: options.Conflicts = None,
    neutral: options.Neutral = None,
    abilities: options.Abilities = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.RemoteCode = None,
    settings: options.SettingsFile = None,
    format: options.Format = "table",
) -> None:
    """Measure an edited model on its edits and against its base."""
    wanted = given(locals(), "settings", "format")
    with guarded():
        from locscope.cli import actions

        actions.evaluate(settings, wanted, format)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="run folders; several are compared")],
    output: Annotated[Path | None, typer.Option(help="file for the page")] = None,
    optuna: Annotated[
        Path | None, typer.Option(help="write the trials of a run there as an Optuna study")
    ] = None,
) -> None:
    """Draw the report of a run again from its records, or compare several runs."""
    _with_actions(lambda actions: actions.report(folders, output, optuna))


@app.command("list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(help="models, edits, scans, measures, strategies, objectives or recipes"),
    ],
    format: options.Format = "table",
) -> None:
    """List what there is."""
    _with_actions(lambda actions: actions.listing(kind, format))


def _with_actions(act: Callable) -> None:
    with guarded():
        from locscope.cli import actions

        act(actions)
