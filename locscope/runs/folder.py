"""A run folder: ours or not, one process at a time, one set of settings.

``run.json`` marks a folder as ours (`runs/info.py`).
"""

import contextlib
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

from locscope.errors import UsageError, shown
from locscope.runs.files import SUFFIX, explained, make_folder
from locscope.runs.info import (
    MARKER,
    content_of,
    copied,
    mark,
    missing_records,
    read_settings,
    restore,
)
from locscope.runs.private import alike
from locscope.runs.store import RECORDS

LOCK = "run.lock"
OF_WORKERS = "locscope-workers-"
"""How folders begin in which worker processes are handed their files."""
UNSET = "(not set)"


@contextlib.contextmanager
def open_run(
    path: str | os.PathLike[str],
    settings: Mapping[str, str],
    *,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """The folder of a run with these settings, locked until the block ends.

    It is made where missing, resumed where its settings are equal; `fresh` first moves one that
    is there to ``<name>.old-<n>``. What was done to open it is said. A UsageError where the folder
    is in use by another process, has other settings, or is not ours; nothing is written then.
    """
    folder = _named(Path(path))
    check_ours(folder)
    with explained(f"use run folder {folder}"), contextlib.ExitStack() as locks:
        make_folder(folder)
        locks.enter_context(_locked(folder))
        notes: tuple[str, ...] = ()
        if fresh and _is_run(folder):
            notes = (f"moved the run that was there to {_move_aside(folder)}",)
            folder.mkdir()
            locks.enter_context(_locked(folder))
        if _is_run(folder):
            _check_settings(folder, settings)
            notes += (*restore(folder), *_missed(folder))
        else:
            mark(folder, settings)
        make_folder(folder / RECORDS)
        # Outside the explanation: an error of the work in the block is not one of the folder.
        unlock = locks.pop_all()
    with unlock:
        for note in notes:
            say(note)
        yield folder


def refuse_other_settings(path: str | os.PathLike[str], settings: Mapping[str, str]) -> None:
    """A UsageError where a run with other settings is there, as `open_run` raises it; nothing is
    written, and a run that is at work there goes on."""
    folder = _named(Path(path))
    check_ours(folder)
    with explained(f"use run folder {folder}"):
        if _is_run(folder):
            _check_settings(folder, settings)


def default_name(model: str, edits: str, settings_hash: str) -> Path:
    """``runs/<model>-<edits>-<hash>``, the names cut to what is safe in a file name."""
    return Path("runs") / f"{_safe(model)}-{_safe(edits, stem=True)}-{_safe(settings_hash)}"


def _is_run(folder: Path) -> bool:
    return os.path.lexists(folder / MARKER) or copied(folder) is not None


def _missed(folder: Path) -> tuple[str, ...]:
    names = missing_records(folder)
    if not names:
        return ()
    some = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    return (f"records that were there are missing ({len(names)}: {some}): their tasks run again",)


def check_ours(folder: Path) -> None:
    """A UsageError where no run can be kept there, for what is there already."""
    if "\0" in str(folder):
        raise UsageError(f"run folder {shown(str(folder))}: its name holds a NUL character")
    # Asking whether it exists is refused too, where its name is too long.
    with explained(f"read {folder}"):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"run folder {folder} is a file: choose another --output")
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if MARKER in names or copied(folder) is not None:
        content_of(folder)
        return
    # A run that was killed while it opened the folder leaves no more than these.
    strangers = sorted(n for n in names if n != LOCK and not n.endswith(SUFFIX))
    if strangers:
        raise UsageError(
            f"{folder} is not a run folder (it has {', '.join(strangers[:3])} and no {MARKER}): "
            "choose another --output"
        )


def _check_settings(folder: Path, settings: Mapping[str, str]) -> None:
    before = read_settings(folder)
    changes = [
        f"{key} {before.get(key, UNSET)} -> {settings.get(key, UNSET)}"
        for key in dict.fromkeys([*before, *settings])
        if not alike(before.get(key), settings.get(key))
    ]
    if changes:
        raise UsageError(
            f"run folder {folder} has other settings: {'; '.join(changes)}; use --fresh to move "
            "it aside, or choose another --output"
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; a UsageError names who has it."""
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            # The kernel gives the lock back when a process dies, so none is left stale.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"run folder {folder} is in use by {_holder(file)}: wait for it to end, or choose "
                "another --output"
            ) from error
        _check_same(folder, file)
        _write_holder(file, f"process {os.getpid()} on {socket.gethostname()} since {_now()}")
        for left in folder.glob(f"{OF_WORKERS}*"):
            # Of a process that was killed: who is alive has the lock.
            shutil.rmtree(left, ignore_errors=True)
        try:
            yield
        finally:
            # The file stays: removing it would let two processes lock two files of one name.
            _write_holder(file, "")


def _check_same(folder: Path, file: TextIO) -> None:
    """The folder may have been moved aside by another process between opening and locking."""
    there = folder / LOCK
    if not there.exists() or not os.path.samestat(os.fstat(file.fileno()), there.stat()):
        raise UsageError(f"run folder {folder} is being moved aside by another process: try again")


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"


def _write_holder(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _named(folder: Path) -> Path:
    """The folder with a name of its own, which `.` and `..` lack and moving aside needs."""
    return Path(os.path.abspath(folder)) if folder.name in ("", "..") else folder


def _move_aside(folder: Path) -> Path:
    number = 1
    # Never over an earlier one: moved runs may be all that is left of days of work.
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return folder.rename(aside)


def _safe(name: str, stem: bool = False) -> str:
    # Hub ids hold a slash, and paths of Windows a backslash.
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    last = Path(last).stem if stem else last
    return re.sub(r"[^A-Za-z0-9._]+", "-", last).strip("-.")[:60] or "unnamed"
