"""What a command says and how it exits when it cannot do what was asked."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from locscope.errors import LocscopeError, ran_out_of_memory

NOTHING_MET = 3
OUT_OF_MEMORY = 4
INTERRUPTED = 130


@contextmanager
def guarded() -> Iterator[None]:
    """Turns errors that people are meant to see into one line on stderr and an exit code."""
    try:
        yield
    except LocscopeError as error:
        print(f"locscope: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        line = "interrupted: the same command goes on with what is done"
        print(f"locscope: {line}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(INTERRUPTED) from None
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        line = "out of memory: take a smaller part, fewer edits (--limit), or --dtype bfloat16"
        print(f"locscope: {line}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(OUT_OF_MEMORY) from None
