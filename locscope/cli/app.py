"""The program itself: its commands, and how one ends that cannot do what it was asked to do."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup

from locscope import __version__
from locscope.cli.stopping import INTERRUPTED, LINE
from locscope.errors import LocscopeError, ran_out_of_memory

NOTHING_MET = 3
OUT_OF_MEMORY = 4
"""Exit codes besides 0, 1 and 2, which are those of the shell: done, failed, used wrongly."""

_FINDING, _USING = "locscope.cli.finding", "locscope.cli.using"
COMMANDS = {
    "search": (
        _FINDING,
        "Search the layer configuration to fine-tune, with held-out evidence for it.",
    ),
    "scan": (
        _FINDING,
        "Scan the untouched model: where do localisation methods see these facts?",
    ),
    "check": (
        _FINDING,
        "Say what was read, whether it can be used, and what a search needs and takes.",
    ),
    "edit": (_USING, "Tune one location on all edits and save the edited model."),
    "evaluate": (_USING, "Measure an edited model on its edits and against its base."),
    "report": (
        _USING,
        "Draw the report of a run again from its records, or compare several runs.",
    ),
    "list": (_USING, "List what there is."),
}
"""By name, the module whose `commands` have it and what help says of it, in the order of help."""


@final
class _Commands(TyperGroup):
    """The commands; the module of one, with its options, is imported when that one is called.

    Options are derived from settings, and to make those takes as long as all of `--help`.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that is called, with its options, and the arguments left for it."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        module = import_module(COMMANDS[name][0])
        command = typer.main.get_group(module.commands).commands[name]
        # From the table: that of the module is its function's docstring, for developers.
        command.help = stub.help
        return name, command, rest


app = typer.Typer(
    name="locscope",
    cls=_Commands,
    help="Where should a language model be fine-tuned, so that these facts change and nothing "
    "else does?",
    no_args_is_help=True,
    # A report of a defect needs Python's whole traceback, without colours and frames cut out.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_line() -> str:
    """The command as it was written."""
    return shlex.join(["locscope", *sys.argv[1:]])


@contextmanager
def guarded() -> Iterator[None]:
    """Turns errors that users are meant to see into one line on stderr and an exit code.

    Raises typer.Exit, with that code; any other error is a defect and keeps its traceback.
    """
    try:
        yield
    except LocscopeError as error:
        raise _exit(str(error), error.exit_code) from None
    except KeyboardInterrupt:
        raise _exit(LINE, INTERRUPTED) from None
    # torch raises a RuntimeError where memory ends, on some devices one of its own class.
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        line = "out of memory: take a smaller part, fewer edits (--limit), or --dtype bfloat16"
        raise _exit(line, OUT_OF_MEMORY) from None


def _exit(line: str, code: int) -> typer.Exit:
    print(f"locscope: {line}", file=sys.stderr)  # noqa: T201
    return typer.Exit(code)


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


def _stub() -> None:
    """Never runs: a command without its options, for the list of commands."""


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, help=_help)(_stub)
