"""The commands that use what was found: edit, evaluate, report and list."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from locscope.cli import options
from locscope.cli.app import NOTHING_MET, guarded
from locscope.cli.options import read_settings, with_settings
from locscope.errors import UsageError
from locscope.settings import EditSettings, EvaluateSettings
from locscope.settings.base import OUTPUT, TUNING

commands = typer.Typer()
IN_SEARCHES = ("device_memory", "host_memory")
"""Settings of every verb that only searches and scans have use for: they cache activations."""


@commands.command()
@with_settings(EditSettings, without=IN_SEARCHES)
def edit(
    *,
    file: options.SettingsFile = None,
    output: Annotated[
        Path | None, typer.Option(help="directory for the edited model", rich_help_panel=OUTPUT)
    ] = None,
    delta: Annotated[
        Path | None,
        typer.Option(
            help="file for the changed tensors alone (.safetensors), which `locscope apply` takes",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="recommendation.yaml, or the run folder it is in", rich_help_panel=TUNING
        ),
    ] = None,
    no_evaluate: Annotated[
        bool, typer.Option("--no-evaluate", help="as --evaluate none", rich_help_panel=TUNING)
    ] = False,
    format: options.Format = "table",
    **written: Any,
) -> None:
    """Edits; exits with 3 where the model has not learned or is out of bounds."""
    if output is None and delta is None:
        raise UsageError("say where to save: --output DIRECTORY, --delta FILE, or both")
    settings = read_settings(EditSettings, file, _unmeasured(written) if no_evaluate else written)
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_measures, say_json
    from locscope.models.parts import summary
    from locscope.records import dumps
    from locscope.scoring.objectives import nothing_learned, quick_objective
    from locscope.workflows.edit import edit as run_edit
    from locscope.workflows.edit import plan_edit

    progress = listener()
    plan = plan_edit(settings, config, output, delta=delta)
    progress.say(f"tuning {summary(plan.loaded.model, plan.location)}")
    record = run_edit(plan, progress)
    progress.say(f"saved to {' and '.join(str(path) for path in (output, delta) if path)}")
    if format == "json":
        say_json(dumps(record, indent=2))
    elif record.measures:
        print_measures(record.measures, f"{record.trial.location} at {record.trial.recipe.lr:g}")
    missed = [f"out of bounds: {line}" for line in record.violated]
    if record.measures:
        goal = quick_objective(plan.objective) if record.trial.quick else plan.objective
        missed += nothing_learned(record.measures, goal)
    for line in missed:
        progress.say(line)
    raise typer.Exit(NOTHING_MET if missed else 0)


def _unmeasured(written: dict[str, Any]) -> dict[str, Any]:
    """The same options, with nothing to be measured."""
    if written["evaluate"] not in (None, "none"):
        raise UsageError(
            f"--no-evaluate with --evaluate {written['evaluate']}: give one of the two"
        )
    return {**written, "evaluate": "none"}


@commands.command()
@with_settings(EvaluateSettings, without=IN_SEARCHES)
def evaluate(
    *, file: options.SettingsFile = None, format: options.Format = "table", **written: Any
) -> None:
    """Evaluates."""
    settings = read_settings(EvaluateSettings, file, written)
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_measures, say_json
    from locscope.workflows.evaluate import evaluate as run_evaluate
    from locscope.workflows.evaluate import evaluate_json, plan_evaluate

    measures = run_evaluate(plan_evaluate(settings), listener())
    if format == "json":
        say_json(evaluate_json(measures))
    else:
        print_measures(measures, settings.model)


@commands.command()
@guarded()
def report(
    folders: Annotated[list[Path], typer.Argument(help="run folders; several are compared")],
    output: Annotated[Path | None, typer.Option(help="file for the page")] = None,
    optuna: Annotated[
        Path | None, typer.Option(help="write the trials of a run there as an Optuna study")
    ] = None,
) -> None:
    """Draws the report of one run, or of several beside each other."""
    from locscope.cli.listener import listener
    from locscope.cli.printing import say
    from locscope.workflows.report import report as run_report

    say(str(run_report(folders, output, optuna, listener())))


@commands.command("list")
@guarded()
def list_(
    kind: Annotated[
        str,
        typer.Argument(help="models, edits, scans, measures, strategies, objectives or recipes"),
    ],
    format: options.Format = "table",
) -> None:
    """Prints one of the tables of what there is."""
    from locscope.cli.printing import print_rows, say_json
    from locscope.workflows.listing import listing

    table = listing(kind)
    if format == "json":
        say_json(json.dumps(dict(table), indent=2))
    else:
        print_rows(table)
