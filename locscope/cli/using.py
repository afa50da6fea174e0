"""The commands that use what was found: edit, evaluate, report and list."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from locscope.cli import completion, options
from locscope.cli.app import NOTHING_MET, guarded
from locscope.cli.options import option, with_settings
from locscope.cli.written import split
from locscope.errors import UsageError
from locscope.progress import WHOLE, stage
from locscope.settings import EditSettings, EvaluateSettings
from locscope.settings.base import DATA, OUTPUT, TUNING

commands = typer.Typer()
HINT = ": try a higher --lr, or what a search found (--config)"
IN_SEARCHES = ("device_memory", "host_memory")
"""Settings of every verb that only searches and scans have use for: they cache activations."""
Delta = Annotated[
    Path | None,
    option(
        "delta",
        help="file for the changed tensors alone (.safetensors), which `locscope apply` takes",
        panel=OUTPUT,
        metavar="FILE",
        autocompletion=completion.files,
    ),
]
Edited = Annotated[
    Path | None,
    typer.Option(
        help="directory for the edited model",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="recommendation.yaml, or the run folder it is in",
        rich_help_panel=TUNING,
        metavar="PATH",
        autocompletion=completion.files,
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(
        help="also write the change of recipe lora there, as an adapter for PEFT",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
PushToHub = Annotated[
    str | None,
    typer.Option(
        help="also upload the saved model to this repository of the Hugging Face hub",
        rich_help_panel=OUTPUT,
        metavar="ORG/NAME",
    ),
]
Public = Annotated[
    bool,
    typer.Option(
        "--public",
        help="make that repository a public one, if it is not there (default: private)",
        show_default=False,
        rich_help_panel=OUTPUT,
        metavar="",
    ),
]
NoEvaluate = Annotated[
    bool,
    option(
        "no_evaluate",
        "--no-evaluate",
        help="as --evaluate none",
        show_default=False,
        panel=TUNING,
        metavar="",
    ),
]
Tasks = Annotated[
    Any,
    option(
        "tasks",
        parser=split,
        help="tasks of lm-evaluation-harness to ask both models too, as mmlu,gsm8k (extra eval)",
        panel=DATA,
        metavar="A,B",
    ),
]
TaskLimit = Annotated[
    int | None,
    option(
        "task_limit",
        help="items of each of these tasks (default: all)",
        panel=DATA,
        metavar="N",
        min=1,
    ),
]


@commands.command()
@with_settings(
    EditSettings, without=IN_SEARCHES, switches={"no_evaluate": (NoEvaluate, "evaluate", "none")}
)
def edit(
    settings: EditSettings,
    *,
    output: Edited = None,
    delta: Delta = None,
    config: Config = None,
    adapter: Adapter = None,
    push_to_hub: PushToHub = None,
    public: Public = False,
    quiet: options.Quiet = False,
    format: options.Format = "table",
) -> None:
    """Edits; exits with 3 where the model has not learned or is out of bounds."""
    from locscope.workflows.early.precheck import before_edit

    _check_places(output, delta, push_to_hub, public)
    before_edit(settings, config, output, adapter=adapter, delta=delta)
    from locscope.integrations.hub import check_hub, push

    if push_to_hub is not None:
        check_hub(push_to_hub)
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_measures, say_json
    from locscope.models.parts import summary
    from locscope.records import dumps
    from locscope.scoring.objectives import nothing_learned, quick_objective
    from locscope.workflows.edit import edit as run_edit
    from locscope.workflows.edit import plan_edit

    progress = listener(quiet)
    with stage(progress, "editing", WHOLE):
        with stage(progress, "loading the model", 1, share=5):
            plan = plan_edit(settings, config, output, delta=delta, adapter=adapter)
        progress.say(f"tuning {summary(plan.loaded.model, plan.location)}")
        record = run_edit(plan, progress, adapter)
    places = [str(path) for path in (output, delta, adapter) if path]
    progress.say(f"saved to {' and '.join(places)}")
    if push_to_hub is not None and output is not None:
        where = push(output, push_to_hub, f"locscope edit at {plan.location}", public=public)
        progress.say(f"pushed to {where}")
    if format == "json":
        say_json(dumps(record, indent=2))
    elif record.measures:
        print_measures(record.measures, f"{record.trial.location} at {record.trial.recipe.lr:g}")
    missed = [f"out of bounds: {line}" for line in record.violated]
    if record.measures:
        goal = quick_objective(plan.objective) if record.trial.quick else plan.objective
        missed += [line + HINT for line in nothing_learned(record.measures, goal)]
    for line in missed:
        listener().say(line)
    raise typer.Exit(NOTHING_MET if missed else 0)


def _check_places(
    output: Path | None, delta: Path | None, push_to_hub: str | None, public: bool
) -> None:
    """Raises UsageError where the edited model would go nowhere, or an upload lacks its part."""
    if output is None and delta is None:
        raise UsageError("say where to save: --output DIRECTORY, --delta FILE, or both")
    if public and push_to_hub is None:
        raise UsageError("--public says how to upload: give --push-to-hub ORG/NAME too")
    if push_to_hub is not None and output is None:
        raise UsageError("--push-to-hub uploads a saved model: give --output too")


@commands.command()
@with_settings(EvaluateSettings, without=(*IN_SEARCHES, "prefix_cache"))
def evaluate(
    settings: EvaluateSettings,
    *,
    tasks: Tasks = None,
    task_limit: TaskLimit = None,
    include_path: options.IncludePath = None,
    quiet: options.Quiet = False,
    format: options.Format = "table",
) -> None:
    """Evaluates."""
    from locscope.workflows.early.precheck import before_evaluate

    if tasks is None and (task_limit is not None or include_path is not None):
        raise UsageError("--task-limit and --include-path are for --tasks: give its names too")
    before_evaluate(settings)
    from locscope.cli.listener import listener
    from locscope.cli.printing import print_measures, say_json
    from locscope.workflows.evaluate import (
        check_tasks,
        evaluate_json,
        evaluate_tasks,
        plan_evaluate,
    )
    from locscope.workflows.evaluate import evaluate as run_evaluate

    check_tasks(tasks or (), include_path)

    progress = listener(quiet)
    with stage(progress, "evaluating", WHOLE):
        with stage(progress, "loading the models", 1, share=10):
            plan = plan_evaluate(settings)
        measures = run_evaluate(plan, progress)
        if tasks:
            measures += evaluate_tasks(plan, tasks, progress, include_path, task_limit)
    if format == "json":
        say_json(evaluate_json(measures))
    else:
        print_measures(measures, settings.model)


@commands.command()
@guarded()
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="run folders; several are compared",
            metavar="FOLDER...",
            autocompletion=completion.folders,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="file for the page (default: report.html there; of several, comparison.html)",
            rich_help_panel=OUTPUT,
            metavar="FILE",
            autocompletion=completion.files,
        ),
    ] = None,
    optuna: Annotated[
        Path | None,
        typer.Option(
            help="also write the trials of a run as an Optuna study",
            rich_help_panel=OUTPUT,
            metavar="FILE",
            autocompletion=completion.files,
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Draws the report of one run, or of several beside each other."""
    from locscope.cli.listener import listener
    from locscope.cli.printing import say
    from locscope.workflows.report import report as run_report

    say(str(run_report(folders, output, optuna, listener(quiet))))


def _kinds() -> list[str]:
    from locscope.workflows.listing import LISTS

    return list(LISTS)


@commands.command("list")
@guarded()
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="models, edits, scans, measures, strategies, objectives, recipes, trackers or "
            "exports (default: all)",
            metavar="KIND",
            autocompletion=completion.of_names(_kinds),
        ),
    ] = None,
    format: options.Format = "table",
) -> None:
    """Prints one of the tables of what there is, or all of them."""
    from locscope.cli.printing import print_rows, print_sections, say_json
    from locscope.workflows.listing import everything, listing

    if kind is None:
        tables = everything()
        if format == "json":
            say_json(json.dumps({name: dict(rows) for name, rows in tables.items()}, indent=2))
        else:
            print_sections(tables)
        return
    table = listing(kind)
    if format == "json":
        say_json(json.dumps(dict(table), indent=2))
    else:
        print_rows(table)
