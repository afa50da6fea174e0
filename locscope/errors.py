"""The errors that users are meant to see: one line that names the thing and what to do.

The command line turns them into exit codes; any other error is a defect and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

LONGEST = 1500
"""Characters of an error; what is longer quotes an input that nobody reads to the end."""


class LocscopeError(Exception):
    """Base of all errors shown as one line. Abstract: raise one of the two below."""

    exit_code = 1

    def __str__(self) -> str:
        return shortened(super().__str__(), LONGEST)


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
    """A value of the user's as an error quotes it: as Python writes it, shortened."""
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


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device."""
    words = str(error)
    # torch's class is told by its name, as nothing here imports torch; on a CPU torch raises a bare
    # RuntimeError, which only its message tells from others.
    return (
        isinstance(error, (MemoryError, OutOfMemory))
        or type(error).__name__ == "OutOfMemoryError"
        or "allocate memory" in words
        or "out of memory" in words
    )
