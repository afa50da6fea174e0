"""The command line: results to stdout, all else to stderr, errors as one line and an exit code."""

import os
import sys
import traceback
from io import TextIOWrapper
from types import TracebackType

from locscope.cli.stopping import stoppable
from locscope.display import visible
from locscope.errors import ran_out_of_memory

__all__ = ["main"]

OUT_OF_MEMORY = 4


def main() -> None:
    """Runs the command line."""
    sys.excepthook = _defect
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal has no code for is no reason to fail.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with stoppable():
        # Here, so that it can be interrupted too, and that there is a hook where there is not even
        # memory to import it.
        from locscope.cli.app import app

        app()


def _defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints the traceback of a defect, whose message may quote any input."""
    if ran_out_of_memory(error):
        print("locscope: out of memory before it began (ulimit -v)", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        # Past all that would run at exit and need memory again.
        os._exit(OUT_OF_MEMORY)
    text = "".join(traceback.format_exception(kind, error, trace))
    print(visible(text, "\n"), end="", file=sys.stderr)  # noqa: T201
