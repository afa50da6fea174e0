"""The errors that users are meant to see: one line that names the thing and what to do.

The command line turns them into exit codes; any other error is a defect and keeps its traceback.
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

from locscope.display import visible

LONGEST = 1500
"""Characters of an error; what is longer quotes an input that nobody reads to the end."""


class LocscopeError(Exception):
    """What cannot be done for a reason outside of the request, as a full disk (exit code 1).

    The base of the two below, and so of all errors that are shown as one line: whatever they quote
    is escaped, for terminals, logs and notebooks alike.
    """

    exit_code = 1

    def __str__(self) -> str:
        return shortened(visible(super().__str__()), LONGEST)


class UsageError(LocscopeError):
    """A request or an input of the user cannot be used (exit code 2)."""

    exit_code = 2


class OutOfMemory(LocscopeError):
    """The work does not fit the device or the host, also after halving batches (exit code 4)."""

    exit_code = 4


def shortened(text: str, most: int) -> str:
    """The text, without its middle where it has more than `most` characters: what an error says is
    at its ends."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} [... {len(text) - most} characters ...] {text[-(most // 2) :]}"


def shown(value: object, most: int = 80) -> str:
    """A value of the user's as an error quotes it: as Python writes it, but none as files write it,
    and shortened."""
    if value is None:
        return "null"
    brief = Repr()
    brief.maxstring = brief.maxother = brief.maxlong = most
    return shortened(brief.repr(value), 2 * most)


def unknown(kind: str, name: str, table: Iterable[str]) -> UsageError:
    """An error for a name that is not in a table, with the near names there, or all of them."""
    names = sorted(table)
    name = shortened(name, 80)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return UsageError(f"unknown {kind} '{name}': {hint}")


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Numbers of system errors of a disk that takes nothing more, whatever is asked of it."""
NO_MEMORY = (
    *("allocate memory", "out of memory", "not enough memory", "bad_alloc", "bad allocation"),
    *("start new thread", "thread creation failed", "pthread_create", "ALLOC_FAILED"),
    *("failed to map segment", "memory exhausted", "unable to mmap"),
)
"""What messages have where memory ended: of torch's on any device, of threads, which need a stack,
and of shared libraries that are mapped when they are first imported."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device: for this error, or what it came from."""
    # torch's class is told by its name, as nothing here imports torch; on a CPU torch raises a bare
    # RuntimeError, which only its message tells from others.
    if (
        isinstance(error, (MemoryError, OutOfMemory))
        or type(error).__name__ == "OutOfMemoryError"
        or getattr(error, "errno", None) == errno.ENOMEM
    ):
        return True
    # Messages of ours, and of system errors with a number, quote names of files, of any words.
    quotes = isinstance(error, LocscopeError) or getattr(error, "errno", None) is not None
    # A disk from which nothing may be run is another reason why a library is not mapped.
    refused = "not permitted" in str(error)
    if not quotes and not refused and any(words in str(error) for words in NO_MEMORY):
        return True
    return error.__cause__ is not None and ran_out_of_memory(error.__cause__)
