"""``run.json``: what is known of a run as a whole, with a checksum and a copy among the records.

It holds the settings from the first moment on, and the whole `RunInfo` when the run has something
to tell; besides that the names of the records that there were, so that a missing one is missed.
The same lies in ``records/run-info.json``, from which it is written again where it is damaged.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from locscope.errors import UsageError, shown
from locscope.records import RunInfo, dumps, loads
from locscope.runs.files import explained, write_atomic
from locscope.runs.private import without_home
from locscope.runs.reading import Unreadable, parse_json, read_bytes
from locscope.runs.store import (
    RECORDS,
    DamagedRecord,
    checksum,
    read_file,
    record_names,
    record_path,
    set_aside,
    write_record,
)

SCHEMA = 1
"""Of run.json; readers open older ones and refuse newer ones."""
MARKER = "run.json"
CHECKSUM = "checksum"
INFO = "info"
_COPY = "run"
"""Id and kind of the record of run.json."""


def write_info(folder: str | os.PathLike[str], info: RunInfo) -> None:
    """Writes what is known of the run as a whole to ``run.json``, and to a record."""
    with explained(f"write {Path(folder) / MARKER}"):
        _write(Path(folder), json.loads(dumps(info)))


def read_info(folder: str | os.PathLike[str]) -> RunInfo | None:
    """What ``run.json`` tells of the run; None where it began and has not told anything yet.

    Where it is damaged, what the record of it tells. A UsageError where the folder is not one of
    ours or is newer than this program.
    """
    content, _ = content_of(Path(folder))
    # Only settings were written yet: the run began and has no result.
    if "verb" not in content:
        return None
    try:
        return loads(RunInfo, json.dumps(content))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(f"cannot read {Path(folder) / MARKER}: see its field '{field}'") from error


def read_settings(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The settings of the run in the folder; a UsageError where it is not one of ours."""
    content, _ = content_of(Path(folder))
    # Runs of earlier versions have the home folder in them.
    return {str(name): without_home(str(value)) for name, value in content["settings"].items()}


def missing_records(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of records that there were when ``run.json`` was written, and are not there."""
    content, _ = content_of(Path(folder))
    known, there = content.get(RECORDS), set(record_names(folder))
    named = known if isinstance(known, list) else []
    return tuple(str(name) for name in named if name not in there)


def restore(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Writes a ``run.json`` that is missing or damaged again, from the record of it; says so.

    The damaged one is moved to the damaged records.
    """
    path = Path(folder) / MARKER
    content, reason = content_of(Path(folder))
    if not reason:
        return ()
    with explained(f"write {path} again"):
        aside = f" ({set_aside(path, path.parent / RECORDS)})" if os.path.lexists(path) else ""
        _write_marker(Path(folder), content)
    return (f"{MARKER}: {reason}{aside}; written again from {RECORDS}/{_COPY}-{INFO}.json",)


def mark(folder: Path, settings: Mapping[str, str]) -> None:
    """Makes the folder that of a run with these settings."""
    content = {"schema_number": SCHEMA, "status": "started", "settings": dict(settings)}
    _write(folder, content)


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    names = [name for name in record_names(folder) if name != f"{_COPY}-{INFO}.json"]
    content = {**content, RECORDS: names}
    # This first: of a folder without it, nobody knows that it is ours.
    _write_marker(folder, content)
    write_record(folder, _COPY, INFO, content)


def _write_marker(folder: Path, content: Mapping[str, Any]) -> None:
    content = {**content, CHECKSUM: checksum(content)}
    write_atomic(folder / MARKER, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def content_of(folder: Path) -> tuple[dict[str, Any], str]:
    """What ``run.json`` holds, or the record of it and why the file itself cannot be used.

    A UsageError where neither can be, or it is newer than this program.
    """
    path = folder / MARKER
    copy, reason = copied(folder), ""
    try:
        content = _checked(path)
        # What is written now has both. Without the record it is a folder of an older program.
        if CHECKSUM not in content and copy is not None:
            reason = "its checksum is gone, so it was changed by hand"
    except OSError as error:
        if os.path.lexists(path) and copy is None:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        content, reason = {}, (error.strerror or str(error)).lower()
    except (Unreadable, RecursionError) as error:
        content, reason = {}, str(error)
    if not reason:
        return content, ""
    if copy is not None:
        return copy, reason
    if not os.path.lexists(path):
        raise UsageError(f"{folder} is not a run folder: it has no {MARKER}")
    raise UsageError(
        f"{path} is damaged ({reason}), or was not written by locscope: choose another --output"
    )


def _checked(path: Path) -> dict[str, Any]:
    """The content of the file; Unreadable says what is wrong, a UsageError that it is newer."""
    content = parse_json(read_bytes(path, links=False))
    if not isinstance(content, dict):
        raise Unreadable("no object")
    number = content.get("schema_number")
    if type(number) is not int or not isinstance(content.get("settings"), dict):
        raise Unreadable("no schema number or settings")
    if number > SCHEMA:
        raise UsageError(
            f"{path} was written by a newer locscope (schema {shown(number)}, this one reads up to "
            f"{SCHEMA}): update locscope"
        )
    found = content.get(CHECKSUM)
    rest = {key: value for key, value in content.items() if key != CHECKSUM}
    if found is not None and found != checksum(rest):
        raise Unreadable("its checksum does not fit, so it was changed by hand")
    return content


def copied(folder: Path) -> dict[str, Any] | None:
    """The record of ``run.json``; None where there is none that can be used."""
    try:
        return read_file(record_path(folder, _COPY, INFO), _COPY, dict)
    except (OSError, DamagedRecord):
        return None
