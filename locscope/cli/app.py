"""The program itself: its commands, and how one ends that cannot do what it was asked to do."""

import errno
import mmap
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup

from locscope import __version__
from locscope.cli.near import command_meant, dashed, options_meant, with_value
from locscope.cli.pages import COMMANDS
from locscope.cli.stopping import INTERRUPTED, line
from locscope.display import guarded_streams, visible
from locscope.errors import DISK_FULL, LocscopeError, ran_out_of_memory, shown

FAILED, WRONG_USAGE = 1, 2
NOTHING_MET = 3
OUT_OF_MEMORY = 4
"""Exit codes besides 0; 1 and 2 are those of the shell: failed, used wrongly."""
LEAST = 1000 << 20
NEEDED = {
    "list": 200 << 20,
    "cache": 200 << 20,
    "report": 400 << 20,
    "check": 820 << 20,
    "search": 1300 << 20,
}
"""Bytes of address space (ulimit -v) that commands on the bundled model take at least; 1,250 MiB
were not enough for a search of it."""
REFUSED = (*DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)
"""Numbers of system errors that are of the machine and not of this program."""


@final
class _Commands(TyperGroup):
    """The commands; the module of one, with its options, is imported when that one is called.

    Options are derived from settings, and to make those takes as long as all of `--help`.
    """

    def make_context(self, info_name: Any, args: list[str], *more: Any, **extra: Any) -> Any:
        """The options before the command, read; underscores in names of options are dashes."""
        with _wrong_usage():
            return super().make_context(info_name, dashed(args), *more, **extra)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that is called, with its options, and the arguments left for it."""
        with _wrong_usage():
            if args and args[0] not in COMMANDS and (meant := command_meant(args[0], COMMANDS)):
                ctx.fail(f"no command '{args[0]}': did you mean {meant}?")
            name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        # Already here: libraries are mapped into memory, of which there may be too little.
        with guarded():
            _check_room(name)
            module = import_module(COMMANDS[name].module)
            command = typer.main.get_group(module.commands).commands[name]
        # From the table: that of the module is its function's docstring, for developers.
        command.help = stub.help
        settings = any("--settings" in option.opts for option in command.params)
        command.epilog = COMMANDS[name].epilog(settings)
        # Where it reads its options, and not around its run: that adds a frame to every traceback.
        command.make_context = _wrong_usage(tuple(rest))(command.make_context)
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


def _check_room(command: str) -> None:
    """An OSError where the process may not have the memory that libraries take.

    Some of them end it, or wait without end, where they get none while they are loaded.
    """
    # Read only, so that nothing of it has to be there: it is held against the limit alone.
    how = {"prot": mmap.PROT_READ} if hasattr(mmap, "PROT_READ") else {}
    mmap.mmap(-1, NEEDED.get(command, LEAST), **how).close()


@contextmanager
def guarded() -> Iterator[None]:
    """Turns errors that users are meant to see into one line on stderr and an exit code.

    What is written to stdout and stderr meanwhile is escaped, by whomever. Raises typer.Exit, with
    that code; any other error is a defect and keeps its traceback.
    """
    try:
        with guarded_streams(), _plain_warnings():
            yield
            # Here, where it can be told: a full disk is noticed when what was printed is written.
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise _exit(line(), INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        raise _exit(line_of(error), code) from None


def exit_code_of(error: Exception) -> int | None:
    """The code to end with, for errors that a person can do something about; None for defects."""
    if ran_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, LocscopeError):
        return error.exit_code
    return FAILED if isinstance(error, OSError) and error.errno in REFUSED else None


def line_of(error: Exception) -> str:
    """What is said of such an error."""
    if isinstance(error, LocscopeError) and exit_code_of(error) == error.exit_code:
        return str(error)
    if isinstance(error, OSError) and error.errno in REFUSED:
        where = f" {error.filename}" if error.filename else ""
        said = f"the system refuses to read or write{where}: {error.strerror}"
        return f"{said}: mend that, and give the same command again"
    return (
        "out of memory: take a smaller model or part, fewer edits (--limit), --dtype bfloat16, "
        "or let the process have more (ulimit -v)"
    )


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as a line each, without the file and code that raised them."""
    with warnings.catch_warnings():
        # Not where Python was told what to do with them, as by tests: raise, say.
        if not sys.warnoptions:
            warnings.showwarning = _warned
        yield


def _warned(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"locscope: warning: {visible(message)}", file=sys.stderr)  # noqa: T201


@contextmanager
def _wrong_usage(words: Sequence[str] = ()) -> Iterator[None]:
    """One line for options that the command line has not, or with values that they cannot have;
    `words` are what was written."""
    try:
        yield
    except Exception as error:
        # Errors of the command line's own library, whose classes are private: they have a message
        # that is made of what was written, and the command that it was written for.
        told, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
        if told is None:
            raise
        command = context.command_path if context is not None else "locscope"
        if type(error).__name__ != "NoArgsIsHelpError":  # Of which help has been printed.
            said = _meant(error, context, words) or told().rstrip(".")
            _exit(f"{said} (`{command} --help` says what there is)", WRONG_USAGE)
        sys.exit(WRONG_USAGE)


def _meant(error: Any, context: Any, words: Sequence[str]) -> str:
    """What is said of an option that there is not, or of a value that an option cannot have; empty
    for all else."""
    name, parameter = getattr(error, "option_name", ""), getattr(error, "param", None)
    if type(error).__name__ == "NoSuchOption" and context is not None:
        taken = context.command.params
        near = options_meant(name, [f for one in taken for f in (*one.opts, *one.secondary_opts)])
        meant = with_value(near[0], name, words) if near else ""
        return f"no option {name}{f': did you mean {meant}?' if meant else ''}"
    if type(error).__name__ != "BadParameter" or parameter is None or context is None:
        return ""
    found = getattr(error.__cause__, "errors", list)()
    value = f" is {shown(found[0]['input'])}: it " if found else ": "
    reason = error.message.rstrip(".").partition(", unable")[0].removeprefix("Input ")
    source = context.get_parameter_source(parameter.name)
    by = f" (set by {parameter.envvar})" if source and source.name == "ENVIRONMENT" else ""
    return f"{parameter.opts[0]}{value}{reason}{by}"


def _exit(line: str, code: int) -> typer.Exit:
    print(f"locscope: {visible(line)}", file=sys.stderr)  # noqa: T201
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


for _name, _page in COMMANDS.items():
    app.command(_name, help=_page.help)(_stub)
