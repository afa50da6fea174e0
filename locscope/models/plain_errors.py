"""What other packages raise over the files of a model, as one line; and their output kept quiet.

Only calls into those packages stand within `plain_errors`: an error of our own code is a defect and
keeps its traceback.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transformers.utils import logging as hf_logging

from locscope.display import visible
from locscope.errors import LocscopeError, OutOfMemory, UsageError, ran_out_of_memory

LONGEST = 140
"""Characters of another package's error that are shown."""

_PANIC = "PanicException"
"""What a failed assertion within the tokenizers raises; no subclass of Exception."""


@contextmanager
def plain_errors(doing: str, out_of_memory: str) -> Iterator[None]:
    """Raises whatever goes wrong inside as a UsageError that begins with `doing`.

    Where memory ran out it is an OutOfMemory that says `out_of_memory`.
    """
    try:
        yield
    except LocscopeError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        if ran_out_of_memory(error):
            raise OutOfMemory(out_of_memory) from None
        raise UsageError(f"{doing}: {in_one_line(error)}") from error


def in_one_line(error: BaseException) -> str:
    """The kind of an error and what it says, cut, on one line."""
    words = visible(" ".join(str(error).split()))
    # Validators of configurations put the key in a heading of their own, which says it best.
    words = re.sub(r"^Validation error for field '(\w+)': \w+: ", r"\1: ", words)
    kind = type(error).__name__
    if kind in ("KeyError", "AttributeError", "TypeError", "IndexError", "AssertionError"):
        words = f"{kind} {words}"
    words = words or kind
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Hugging Face's bars, reports and warnings off stderr, which is ours."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


@contextmanager
def unwritten() -> Iterator[None]:
    """Keeps off the terminal what libraries that are not Python write to stderr themselves: a
    failed assertion of the tokenizers is printed, by several lines, and raised too."""
    kept = -1
    # A process may have been begun without a stderr.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
        kept = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
    try:
        yield
    finally:
        if kept >= 0:
            os.dup2(kept, 2)
            os.close(kept)
