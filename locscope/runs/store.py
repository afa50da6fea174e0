"""Records on disk: one atomic, checksummed, schema-numbered JSON file per task.

``records/<kind>-<id>.json`` holds ``{"schema", "kind", "checksum", "payload"}``; the checksum is
the SHA-256 of the payload as compact JSON with sorted keys. They are the only truth of a run:
tables and reports are rebuilt from them. A file that is damaged, or anything else under its name,
is moved to ``records/damaged/``, so that its task runs again.
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
from locscope.records.checks import identity, unsound
from locscope.runs.files import explained, write_atomic
from locscope.runs.reading import Unreadable, parse_json, read_bytes

Record = TypeVar("Record")
Folder = str | os.PathLike[str]
Upgrade = Callable[[str, dict[str, Any]], dict[str, Any]]

SCHEMA = 2
RENAMED = {
    "glance": "quick",
    "room": "bound_margin",
    "steady": "outcome_reliability",
    "places": "locations",
    "material_hash": "eval_texts_hash",
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
MOST = 1 << 29
"""Bytes of a record: a scan with a number for each of ten thousand edits has a tenth of it."""
LARGEST = 1 << 63
"""Whole numbers are below it, as tables hold them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_KIND = re.compile(r"[a-z][a-z_]{0,30}")
_FILE = re.compile(rf"({_KIND.pattern})-{_NAME.pattern}\.json")


class DamagedRecord(Exception):
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
        "checksum": checksum(payload),
        "payload": payload,
    }
    with explained(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(envelope, ensure_ascii=False))
    return path


def read_record(
    folder: Folder,
    kind: str,
    id: str,
    type: type[Record],
    progress: Progress | None = None,
    *,
    damaged: list[str] | None = None,
) -> Record | None:
    """The record of a task; None where there is none or it was damaged, which is said.

    Where `damaged` is given, nothing is moved: name and reason of what cannot be used are added
    to it. A UsageError where a newer program wrote it.
    """
    path = record_path(folder, kind, id)
    # Not `exists`: a link that leads nowhere is no record, and in its way.
    return _read(path, kind, type, progress, damaged) if os.path.lexists(path) else None


def iterate(
    folder: Folder,
    kind: str,
    type: type[Record],
    progress: Progress | None = None,
    *,
    damaged: list[str] | None = None,
) -> Iterator[Record]:
    """All sound records of a kind, in the order of their ids; as `read_record` for the others."""
    for name in record_names(folder):
        if name.startswith(f"{kind}-"):
            record = _read(Path(folder) / RECORDS / name, kind, type, progress, damaged)
            if record is not None:
                yield record


def record_names(folder: Folder) -> tuple[str, ...]:
    """The names of all files of records, in order; a UsageError where they cannot be listed."""
    path = Path(folder) / RECORDS
    with explained(f"read {path}"):
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return ()
    return tuple(sorted(name for name in names if _FILE.fullmatch(name)))


def record_path(folder: Folder, kind: str, id: str) -> Path:
    """Where the record of a task is or would be; a ValueError where `kind` or `id` is unsafe."""
    if not _KIND.fullmatch(kind) or not _NAME.fullmatch(id):
        raise ValueError(f"'{kind}' and '{id}' do not make the name of a record")
    return Path(folder) / RECORDS / f"{kind}-{id}.json"


def checksum(payload: Any) -> str:
    """The SHA-256 of plain values as compact JSON with sorted keys."""
    # ASCII and sorted, so that no writer's order or encoding changes the checksum.
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def set_aside(path: Path, records: Path | None = None) -> str:
    """Moves the file to the damaged ones of its folder of records, never over another; says what
    became of it."""
    folder = (records or path.parent) / DAMAGED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, aside = 1, folder / path.name
        while os.path.lexists(aside):
            number += 1
            aside = folder / f"{path.stem}.{number}{path.suffix}"
        path.rename(aside)
    except OSError as error:
        return f"left out, and left where it is ({error.strerror or error})"
    return f"moved to {RECORDS}/{DAMAGED}"


def _read(
    path: Path,
    kind: str,
    type: type[Record],
    progress: Progress | None,
    damaged: list[str] | None,
) -> Record | None:
    try:
        return read_file(path, kind, type)
    except DamagedRecord as reason:
        problem = str(reason)
    except OSError as error:
        # It may be sound: who may read it decides, and an error of the disk may pass.
        if damaged is None:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        problem = error.strerror or str(error)
    if damaged is not None:
        damaged.append(f"{path.name} ({problem})")
    else:
        (progress or Silent()).say(f"{path.name} is damaged ({problem}): {set_aside(path)}")
    return None


def read_file(path: Path, kind: str, type: type[Record]) -> Record:
    """The record in a file, checked; DamagedRecord or OSError where there is none."""
    try:
        content = parse_json(read_bytes(path, MOST, links=False), LARGEST)
        record = _opened(path, content, kind, type)
    except Unreadable as error:
        raise DamagedRecord(str(error)) from error
    # In all that goes through the values one level calls the next.
    except RecursionError as error:
        raise DamagedRecord("nested too deeply") from error
    _check_identity(path, kind, record)
    return record


def _opened(path: Path, envelope: Any, kind: str, type: type[Record]) -> Record:
    if not isinstance(envelope, dict) or not _is_number(envelope.get("schema")):
        raise DamagedRecord("no schema number")
    # First of all: of a newer schema nothing else is known, not even how it is checked.
    if envelope["schema"] > SCHEMA:
        raise UsageError(
            f"{path} was written by a newer locscope (schema {envelope['schema']}, this one reads "
            f"up to {SCHEMA}): update locscope"
        )
    payload = envelope.get("payload")
    if envelope.get("checksum") != checksum(payload):
        raise DamagedRecord("its checksum does not fit")
    if envelope.get("kind") != kind or not isinstance(payload, dict):
        raise DamagedRecord(f"not a record of kind {kind}")
    return _loaded(type, _upgraded(kind, payload, envelope["schema"]))


def _check_identity(path: Path, kind: str, record: Any) -> None:
    """A copy under another name would count twice, a scan under another's name for that one."""
    if reason := unsound(record):
        raise DamagedRecord(reason)
    name = f"{kind}-{identity(record)}.json"
    if not identity(record) or path.name == name:
        return
    # Trials of older programs were named by a hash of fewer fields: alone they are what they are.
    if kind != "trial" or os.path.lexists(path.with_name(name)):
        raise DamagedRecord(f"it is the record of {name}")


def _upgraded(kind: str, payload: dict[str, Any], schema: int) -> dict[str, Any]:
    for number in range(schema, SCHEMA):
        if number not in UPGRADES:
            raise DamagedRecord(f"schema {number} is unknown")
        payload = UPGRADES[number](kind, payload)
    return payload


def _loaded(type: type[Record], payload: dict[str, Any]) -> Record:
    try:
        return loads(type, json.dumps(payload))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        # Without a field it is the text as a whole, of which only the depth can be wrong here.
        what = f"its field '{field}' cannot be read" if field else "nested too deeply"
        raise DamagedRecord(what) from error


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
