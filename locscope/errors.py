"""The errors that people are meant to see: one line that names the thing and what to do.

The command line turns them into exit codes; everything else is a defect and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class LocscopeError(Exception):
    """Base of all errors shown as one line. Abstract: raise one of the two below."""

    exit_code = 1


class UsageError(LocscopeError):
    """What the user asked for or gave cannot be used (exit code 2)."""

    exit_code = 2


class OutOfMemory(LocscopeError):
    """The work does not fit the device or the host, also after halving batches (exit code 4)."""

    exit_code = 4


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error for a name that is not in a table, with near names or all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return UsageError(f"unknown {kind} '{name}': {hint}")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device; torch's error is known by its name."""
    words = str(error)
    return (
        isinstance(error, (MemoryError, OutOfMemory))
        or type(error).__name__ == "OutOfMemoryError"
        or "allocate memory" in words
        or "out of memory" in words
    )
