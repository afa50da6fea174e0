"""The user's cache: one folder for all that is kept from one command to the next.

Everything in it can be removed at any time; what was in it is made again, fetched again, or (edits
that a Python program gave as rows) is wanted only by a report that is drawn anew.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from locscope.errors import UsageError, unknown
from locscope.runs.files import SUFFIX, explained
from locscope.runs.new_folder import is_partial, remove_stale

PREFIX, CONVERTED, FETCHED, EDITS = "prefix", "converted", "fetched", "edits"
KINDS = {
    PREFIX: "activations of the prefix cache (--prefix-cache), for runs to come",
    CONVERTED: "models made of GGUF files",
    FETCHED: "models that `make real` brought",
    EDITS: "edits that a Python program gave as rows",
}
"""What is kept, by the folder that it is in."""
CLEARED = (PREFIX, CONVERTED)
"""What is cleared unless more is named: it is made again where it is wanted, without a network."""
VARIABLE = "LOCSCOPE_CACHE"


class Kept(NamedTuple):
    """One thing in the cache: a file, or the folder of a model; its size in bytes, and when (in
    seconds since 1970) it was written or read last."""

    kind: str
    path: Path
    size: int
    used: float


def cache_folder(kind: str = "") -> Path:
    """The folder of the cache, or of one kind in it; it need not be there.

    `LOCSCOPE_CACHE` names it; else it is `locscope` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Example:
        >>> cache_folder("prefix").name
        'prefix'
    """
    own = os.environ.get(VARIABLE)
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(own) if own else Path(above) / "locscope"
    return folder.expanduser() / kind


def kept(kinds: Sequence[str] = ()) -> tuple[Kept, ...]:
    """What is in the cache, by kind and name; of these kinds where any are named.

    Raises UsageError for an unknown kind, and where a folder cannot be read.
    """
    return tuple(one for kind in _known(kinds) or KINDS for one in _kept(kind))


def clear(kinds: Sequence[str] = ()) -> tuple[Kept, ...]:
    """Removes what is in the cache, and says what that was; without kinds, `CLEARED`.

    What another process is writing stays. Raises UsageError for an unknown kind, and where
    something cannot be removed.
    """
    wanted = _known(kinds) or CLEARED
    removed = kept(wanted)
    for one in removed:
        with explained(f"remove {one.path}"):
            remove(one.path)
    for kind in wanted:
        _sweep(cache_folder(kind))
    return removed


def remove(path: Path) -> None:
    """Removes a file or folder; one that another process has removed meanwhile is no error."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _known(kinds: Sequence[str]) -> tuple[str, ...]:
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of cache", kind, KINDS)
    return tuple(dict.fromkeys(kinds))


def _kept(kind: str) -> Iterator[Kept]:
    folder = cache_folder(kind)
    for path in _inside(folder):
        if path.name.startswith("."):
            continue
        # Removed meanwhile by another process: not there any more.
        with contextlib.suppress(FileNotFoundError):
            files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            status = [one.stat() for one in files]
            used = max((one.st_mtime for one in status), default=path.stat().st_mtime)
            yield Kept(kind, path, sum(one.st_size for one in status), used)


def _inside(folder: Path) -> list[Path]:
    """What is in the folder, in order of names; nothing where it is not there."""
    with explained(f"read {folder}"):
        try:
            return sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise UsageError(f"cannot read {folder}: it is a file; set {VARIABLE}") from error


def _sweep(folder: Path) -> None:
    """Removes what processes that are gone have left unfinished."""
    for path in _inside(folder):
        if is_partial(path) and path.is_dir():
            remove_stale(folder / path.name[1:].rpartition(".")[0].rpartition(".")[0])
        elif path.name.endswith(SUFFIX) and path.is_file() and not _alive(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _alive(partial: Path) -> bool:
    """Whether the process is there that the name of an unfinished file ends in."""
    number = partial.name.removesuffix(SUFFIX).rpartition(".")[2]
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
