"""The commands for deltas: apply and revert. No model is loaded, only the tensors that change."""

from pathlib import Path
from typing import Annotated

import typer

from locscope.cli import completion, options
from locscope.cli.app import guarded
from locscope.settings.base import DATA, OUTPUT

commands = typer.Typer()
Deltas = Annotated[
    list[Path],
    typer.Argument(
        metavar="DELTA...",
        help="files of `locscope edit --delta`, in order",
        autocompletion=completion.files,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        help="directory for the model",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        help="model to put them on (default: the one that the first was made on)",
        rich_help_panel=DATA,
        metavar="MODEL",
        show_default=False,
    ),
]
Edited = Annotated[
    str, typer.Option(help="model that has them", rich_help_panel=DATA, metavar="MODEL")
]


@commands.command()
@guarded()
def apply(
    deltas: Deltas, *, model: Base = None, output: Output, quiet: options.Quiet = False
) -> None:
    """Writes the model with the deltas put on, in their order."""
    from locscope.cli.listener import listener
    from locscope.workflows.deltas import apply_deltas

    progress = listener(quiet)
    for line in apply_deltas(deltas, model, output):
        progress.say(line)
    progress.say(f"saved to {output}")


@commands.command()
@guarded()
def revert(deltas: Deltas, *, model: Edited, output: Output, quiet: options.Quiet = False) -> None:
    """Writes the model with the deltas taken off, the last one first."""
    from locscope.cli.listener import listener
    from locscope.workflows.deltas import revert_deltas

    progress = listener(quiet)
    for line in revert_deltas(deltas, model, output):
        progress.say(line)
    progress.say(f"saved to {output}")
