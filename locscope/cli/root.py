"""The program itself, and what its commands share."""

import shlex
import sys
from typing import Annotated

import typer

from locscope import __version__

app = typer.Typer(
    name="locscope",
    help="Where should a language model be fine-tuned, so that these facts change and nothing "
    "else does?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_line() -> str:
    """The command as it was written."""
    return shlex.join(["locscope", *sys.argv[1:]])


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"locscope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version")
    ] = False,
) -> None:
    """Finds where to fine-tune a language model, so that facts change and nothing else does."""
