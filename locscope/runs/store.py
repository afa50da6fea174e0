"""Records on disk: one atomic, checksummed, schema-numbered JSON file per task.

``records/<kind>-<id>.json`` holds ``{"schema", "kind", "checksum", "payload"}``; the checksum is
the SHA-256 of the payload as compact JSON with sorted keys. They are the only truth of a run:
tables and reports are rebuilt from them. A file that is damaged is moved to ``records/damaged/``,
so that its task runs again.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from locscope.errors import UsageError
from locscope.progress import Progress, Silent
from locscope.records import dumps, loads
from locscope.runs.files import explained, write_atomic

Record = TypeVar("Record")
Folder = str | os.PathLike[str]
Upgrade = Callable[[str, dict[str, Any]], dict[str, Any]]

SCHEMA = 2
RENAMED = {
    "glance": "quick",
    "room": "bound_margin",
    "steady": "outcome_reliability",
    "places": "locations",
}
"""Fields of schema 1 that have another name in schema 2."""


RUNGS = {"look": "rung 1", "second look": "rung 2"}
"""The same for the rungs of a race."""


def _with_new_names(value: Any) -> Any:
    if isinstance(value, dict):
        named = {RENAMED.get(key, key): _with_new_names(its) for key, its in value.items()}
        if "rung" in named:
            named["rung"] = RUNGS.get(named["rung"], named["rung"])
        return named
    return [_with_new_names(its) for its in value] if isinstance(value, list) else value


UPGRADES: dict[int, Upgrade] = {1: lambda _, payload: _with_new_names(payload)}
"""By schema: what turns (kind, payload) of that schema into the payload of the next."""
RECORDS, DAMAGED = "records", "damaged"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_KIND = re.compile(r"[a-z][a-z_]{0,30}")


class _DamagedError(Exception):
    """A file that cannot be trusted; the text says why."""


def write_record(folder: Folder, kind: str, id: str, record: Any) -> Path:
    """Writes the record of a task, whole or not at all, and gives its path.

    `kind` is lower case letters, `id` what is safe in a file name: anything else is a ValueError.
    """
    path = record_path(folder, kind, id)
    # The checksum is of what a reader will parse, floats and all.
    payload = json.loads(dumps(record))
    envelope = {
        "schema": SCHEMA,
        "kind": kind,
        "checksum": _checksum(payload),
        "payload": payload,
    }
    with explained(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(envelope, ensure_ascii=False))
    return path


def read_record(
    folder: Folder, kind: str, id: str, type: type[Record], progress: Progress | None = None
) -> Record | None:
    """The record of a task; None where there is none or it was damaged, which is said.

    A UsageError where a newer program wrote it.
    """
    path = record_path(folder, kind, id)
    return _read(path, kind, type, progress or Silent()) if path.exists() else None


def iterate(
    folder: Folder, kind: str, type: type[Record], progress: Progress | None = None
) -> Iterator[Record]:
    """All sound records of a kind, in the order of their ids; as `read_record` for the others."""
    for path in sorted((Path(folder) / RECORDS).glob(f"{kind}-*.json")):
        record = _read(path, kind, type, progress or Silent())
        if record is not None:
            yield record


def record_path(folder: Folder, kind: str, id: str) -> Path:
    """Where the record of a task is or would be; a ValueError where `kind` or `id` is unsafe."""
    if not _KIND.fullmatch(kind) or not _NAME.fullmatch(id):
        raise ValueError(f"'{kind}' and '{id}' do not make the name of a record")
    return Path(folder) / RECORDS / f"{kind}-{id}.json"


def _read(path: Path, kind: str, type: type[Record], progress: Progress) -> Record | None:
    with explained(f"read {path}"):
        content = path.read_bytes()
    try:
        return _opened(path, content, kind, type)
    except _DamagedError as reason:
        progress.say(f"{path.name} is damaged ({reason}): {_set_aside(path)}")
        return None


def _opened(path: Path, content: bytes, kind: str, type: type[Record]) -> Record:
    try:
        envelope = json.loads(content)
    except ValueError as error:
        raise _DamagedError("not JSON") from error
    if not isinstance(envelope, dict) or not _is_number(envelope.get("schema")):
        raise _DamagedError("no schema number")
    # First of all: of a newer schema nothing else is known, not even how it is checked.
    if envelope["schema"] > SCHEMA:
        raise UsageError(
            f"{path} was written by a newer locscope (schema {envelope['schema']}, this one reads "
            f"up to {SCHEMA}): update locscope"
        )
    payload = envelope.get("payload")
    if envelope.get("checksum") != _checksum(payload):
        raise _DamagedError("its checksum does not fit")
    if envelope.get("kind") != kind or not isinstance(payload, dict):
        raise _DamagedError(f"not a record of kind {kind}")
    return _loaded(type, _upgraded(kind, payload, envelope["schema"]))


def _upgraded(kind: str, payload: dict[str, Any], schema: int) -> dict[str, Any]:
    for number in range(schema, SCHEMA):
        if number not in UPGRADES:
            raise _DamagedError(f"schema {number} is unknown")
        payload = UPGRADES[number](kind, payload)
    return payload


def _loaded(type: type[Record], payload: dict[str, Any]) -> Record:
    try:
        return loads(type, json.dumps(payload))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise _DamagedError(f"its field '{field}' cannot be read") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checksum(payload: Any) -> str:
    # ASCII and sorted, so that no writer's order or encoding changes the checksum.
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _set_aside(path: Path) -> str:
    """Moves the file to the damaged ones, never over another; says what became of it."""
    folder = path.parent / DAMAGED
    try:
        folder.mkdir(exist_ok=True)
        number, aside = 1, folder / path.name
        while aside.exists():
            number += 1
            aside = folder / f"{path.stem}.{number}{path.suffix}"
        path.rename(aside)
    except OSError as error:
        return f"left out, and left where it is ({error.strerror or error})"
    return f"moved to {RECORDS}/{DAMAGED}"
