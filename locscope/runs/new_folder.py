"""A folder that appears under its name whole, or not at all.

It is written beside that name, brought to the disk, and then renamed. What a killed process leaves
has a name that no reader takes (`is_partial`), and is removed when the folder is written again.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from locscope.errors import UsageError
from locscope.runs.files import SUFFIX, explained, make_folder, sync

_PARTIAL = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(SUFFIX)}", re.S)
_LONGEST = 200
"""Bytes of the final name within the partial one: file systems allow 255 in all."""
DELTA = ".safetensors"
"""What the name of a delta ends in."""
SPARE = 2**20
"""Bytes besides the contents: a note, a card, and what folders take."""


def is_partial(folder: Path) -> bool:
    """Whether that is a folder which was never finished, by its name."""
    return _PARTIAL.fullmatch(folder.name) is not None


def check_new(output: Path) -> None:
    """A UsageError where a folder cannot be made there without touching what is there."""
    with explained(f"write {output}"):
        # Not asked of `exists`, which keeps to itself that a path is too long, or a loop of links.
        with contextlib.suppress(FileNotFoundError):
            output.lstat()
            _check_empty(output)
        target = _target(output)
        check_writable(output, _above(target))
        # It is renamed into place, and nothing can take the place of a mount.
        if os.path.ismount(target):
            raise UsageError(f"cannot write {output}: it is a mount point, give a folder in it")


def check_writable(output: Path, into: Path) -> None:
    """A UsageError where `into`, the nearest that is there, takes no file or folder for output."""
    if not into.is_dir():
        raise UsageError(f"cannot write {output}: {into} is not a directory")
    if not os.access(into, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {output}: no permission to write into {into}")


def check_new_file(path: Path, suffix: str) -> None:
    """A UsageError where no such file can be made there without touching what is there."""
    if path.suffix != suffix:
        raise UsageError(f"{path} is to be a {suffix[1:]} file: end its name in {suffix}")
    with explained(f"write {path}"):
        if path.is_dir() and not path.is_symlink():
            raise UsageError(f"{path} is a directory: give a file")
        if os.path.lexists(path):
            raise UsageError(f"{path} is there already: choose another file")
        check_new(path)


def check_room(output: Path, size: int) -> None:
    """A UsageError where `size` bytes do not fit there; what an earlier try left is removed."""
    with explained(f"write {output}"):
        target = _target(output)
        remove_stale(target)
        free = shutil.disk_usage(_above(target)).free
    if free < size + SPARE:
        raise UsageError(
            f"cannot write {output}: it needs {_megabytes(size + SPARE)}, and {_megabytes(free)} "
            "are free there; make room, or choose another directory"
        )


def can_be_linked(path: Path, output: Path) -> bool:
    """Whether a file can be hard-linked to a name under `output`: on that disk, and our own.

    A file of somebody else would stay theirs to change.
    """
    status = path.stat()
    same = status.st_dev == _above(_target(output)).stat().st_dev
    return same and status.st_uid == os.geteuid()


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `output` when the block ends well, or vanishes.

    Raises OSError where the file system refuses, and where something is at `output` by now.
    """
    target = _target(output)
    make_folder(target.parent)
    remove_stale(target)
    partial = target.with_name(f"{_stem(target)}{secrets.token_hex(4)}{SUFFIX}")
    moved = False
    try:
        partial.mkdir()
        with _held(partial, sure=False):
            yield partial
            _sync_all(partial)
            if target.exists():
                partial.chmod(target.stat().st_mode & 0o7777)
            # Over an empty folder at most: the kernel refuses any other.
            partial.rename(target)
            moved = True
            sync(target.parent)
    # Ctrl-C too must leave nothing behind, nor a folder that may not outlive a loss of power.
    except BaseException:
        shutil.rmtree(target if moved else partial, ignore_errors=True)
        raise


def remove_stale(target: Path) -> None:
    """Removes what processes that are gone have left of this folder."""
    for path in _partials(target):
        with contextlib.suppress(OSError), _held(path, sure=True):
            shutil.rmtree(path)


def note_on_partials(output: Path) -> tuple[str, ...]:
    """What lies beside `output` of saves into it that goes on, or was killed where that cannot be
    told, as on some network file systems."""
    names = ", ".join(path.name for path in _partials(_target(output)))
    if not names:
        return ()
    return (
        f"beside {output} lies {names}, of a save that goes on or was killed, which this file "
        "system does not tell: remove it where none goes on",
    )


def _partials(target: Path) -> list[Path]:
    start, there = _stem(target), target.parent.is_dir()
    length = len(start) + 8 + len(SUFFIX)
    found = [p for p in target.parent.iterdir() if is_partial(p)] if there else []
    ours = [path for path in found if path.name.startswith(start) and len(path.name) == length]
    return sorted(path for path in ours if not path.is_symlink())


def _target(output: Path) -> Path:
    """Where the folder will be: links are followed, and it has a name of its own."""
    return Path(os.path.realpath(output))


def _above(target: Path) -> Path:
    """The nearest folder above that is there."""
    return next(path for path in target.parents if os.path.lexists(path))


def _check_empty(output: Path) -> None:
    try:
        output.stat()
    except FileNotFoundError:
        raise UsageError(
            f"{output} is a link to what is not there: choose another directory"
        ) from None
    if not output.is_dir() or any(output.iterdir()):
        raise UsageError(f"{output} is there already: choose another directory")


def _stem(target: Path) -> str:
    name = target.name.encode(errors="surrogateescape")[:_LONGEST]
    return f".{name.decode(errors='ignore')}."


@contextlib.contextmanager
def _held(folder: Path, *, sure: bool) -> Iterator[None]:
    """Marks the folder as in use, for as long as this process lives.

    Raises OSError where another process has it and, if it has to be `sure`, where the file system
    knows no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if sure:
                raise
        yield
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
