"""Files on disk: written whole or not at all.

A reader, or the next start after a crash, never sees half of a file.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from locscope.errors import DISK_FULL, LocscopeError, UsageError

SUFFIX = ".partial"
"""Ends the names of files being written; one that stays behind is of no use to anyone."""
GOES_ON = "make room, and give the same command again"
"""What to do where a disk is full."""


def write_atomic(path: Path, data: str | bytes) -> None:
    """Writes the file whole or not at all; it is on the disk when this returns."""
    content = data.encode() if isinstance(data, str) else data
    write_atomic_with(path, lambda partial: _write(partial, content))


def write_atomic_with(path: Path, write: Callable[[Path], object], *, durable: bool = True) -> None:
    """The same for writers that want a path: `write` gets that of a file beside the final one.

    One that is not `durable` may be lost, or be damaged, where power is lost.
    """
    # In the same folder: a rename is atomic within one file system only.
    # With the process id, so that two processes do not write into one file.
    partial = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        write(partial)
        if durable:
            sync(partial)
        partial.replace(path)
        if durable:
            # The rename itself is on disk only when the folder is.
            sync(path.parent)
    # Ctrl-C too must leave nothing behind.
    except BaseException:
        # What went wrong is told, not that the disk refuses this too.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns an error of the file system (no permission) into a UsageError on `what`.

    Where the disk is full it is a LocscopeError: nothing is wrong with what was asked for.
    """
    try:
        yield
    except OSError as error:
        line = f"cannot {what}: {error.strerror or error}"
        if error.errno in DISK_FULL:
            raise LocscopeError(f"{line}; {GOES_ON}") from error
        raise UsageError(line) from error


def make_folder(path: Path) -> None:
    """Makes the folder and those above it, unless they are there; their names are on the disk when
    this returns."""
    new = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
