"""A run folder: ours or not, one process at a time, one set of settings.

``run.json`` marks a folder as ours. It holds the settings from the first moment on, and the whole
`RunInfo` when the run has something to tell.
"""

import contextlib
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from locscope.errors import UsageError
from locscope.records import RunInfo, dumps, loads
from locscope.runs.files import SUFFIX, explained, write_atomic
from locscope.runs.private import without_home

SCHEMA = 1
"""Of run.json; readers open older ones and refuse newer ones."""
MARKER = "run.json"
LOCK = "run.lock"
RECORDS = "records"
UNSET = "(not set)"


@dataclass(frozen=True)
class RunFolder:
    """An open run folder; `resumed` says whether it was there, `notes` what was done to open it.

    It can be given wherever a path is wanted.
    """

    path: Path
    settings: Mapping[str, str]
    resumed: bool
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)


@contextlib.contextmanager
def open_run(
    path: str | os.PathLike[str], settings: Mapping[str, str], *, fresh: bool = False
) -> Iterator[RunFolder]:
    """The folder of a run with these settings, locked until the block ends.

    It is made where missing, resumed where its settings are equal; `fresh` first moves one that
    is there to ``<name>.old-<n>``. A UsageError where the folder is in use by another process,
    has other settings, or is not ours; nothing is written then.
    """
    folder = _named(Path(path))
    _check_ours(folder)
    with explained(f"use run folder {folder}"), contextlib.ExitStack() as locks:
        folder.mkdir(parents=True, exist_ok=True)
        locks.enter_context(_locked(folder))
        notes: tuple[str, ...] = ()
        if fresh and (folder / MARKER).exists():
            notes = (f"moved the run that was there to {_move_aside(folder)}",)
            folder.mkdir()
            locks.enter_context(_locked(folder))
        resumed = (folder / MARKER).exists()
        if resumed:
            _check_settings(folder, settings)
        else:
            _mark(folder, settings)
        (folder / RECORDS).mkdir(exist_ok=True)
        opened = RunFolder(folder, dict(settings), resumed, notes)
        # Outside the explanation: an error of the work in the block is not one of the folder.
        unlock = locks.pop_all()
    with unlock:
        yield opened


def default_name(model: str, edits: str, settings_hash: str) -> Path:
    """``runs/<model>-<edits>-<hash>``, the names cut to what is safe in a file name."""
    return Path("runs") / f"{_safe(model)}-{_safe(edits, stem=True)}-{_safe(settings_hash)}"


def write_info(folder: str | os.PathLike[str], info: RunInfo) -> None:
    """Writes what is known of the run as a whole to ``run.json``."""
    with explained(f"write {Path(folder) / MARKER}"):
        write_atomic(Path(folder) / MARKER, dumps(info, indent=2) + "\n")


def read_info(folder: str | os.PathLike[str]) -> RunInfo | None:
    """What ``run.json`` tells of the run; None where it began and has not told anything yet.

    A UsageError where the folder is not one of ours or is newer than this program.
    """
    marker = _marker(Path(folder))
    # Only settings were written yet: the run began and has no result.
    if "verb" not in marker:
        return None
    try:
        return loads(RunInfo, json.dumps(marker))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(f"cannot read {Path(folder) / MARKER}: see its field '{field}'") from error


def read_settings(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The settings of the run in the folder; a UsageError where it is not one of ours."""
    found = _marker(Path(folder))["settings"]
    # Runs of earlier versions have the home folder in them.
    return {str(name): without_home(str(value)) for name, value in found.items()}


def _mark(folder: Path, settings: Mapping[str, str]) -> None:
    marker = {"schema_number": SCHEMA, "status": "started", "settings": dict(settings)}
    write_atomic(folder / MARKER, json.dumps(marker, indent=2, ensure_ascii=False) + "\n")


def _marker(folder: Path) -> dict[str, Any]:
    path = folder / MARKER
    if not path.is_file():
        raise UsageError(f"{folder} is not a run folder: it has no {MARKER}")
    try:
        marker = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:
        marker = None
    number = marker.get("schema_number") if isinstance(marker, dict) else None
    if not isinstance(marker, dict) or type(number) is not int or not _has_settings(marker):
        raise UsageError(f"{path} was not written by locscope: choose another --output")
    if number > SCHEMA:
        raise UsageError(
            f"{path} was written by a newer locscope (schema {number}, this one reads up to "
            f"{SCHEMA}): update locscope"
        )
    return marker


def _has_settings(marker: Mapping[str, Any]) -> bool:
    return isinstance(marker.get("settings"), dict)


def _check_ours(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"run folder {folder} is a file: choose another --output")
    with explained(f"read {folder}"):
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if MARKER in names:
        _marker(folder)
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
        if before.get(key) != settings.get(key)
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
