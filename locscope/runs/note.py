"""The note of an edited model, beside it or in a delta: its base, and what was done to it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from locscope.errors import UsageError, shown, unknown
from locscope.records import TrialRecord, dumps, loads
from locscope.records.checks import unsound
from locscope.runs.files import write_atomic
from locscope.runs.private import with_home, without_home
from locscope.runs.reading import Unreadable, parse_json, read_json

NAME = "locscope.json"
SCHEMA = 1
"""Of the note; readers open older ones and refuse newer ones."""
MOST = 1 << 28
"""Bytes of a note: its record has an outcome for every edit."""
LONGEST = 4096
"""Characters of a path or of a name."""
_REMEDY = "give --model a directory that `locscope edit` wrote, or remove the file"
BUNDLED = ("demo", "facts")
"""In place of a file: the edits that come with the package."""
DATA = ("limit", "seed", "conflicts", "neutral", "abilities")
"""Settings that a model is asked with again, as it was measured when it was tuned."""


@dataclass(frozen=True)
class EditNote:
    """`base` is the untouched model's name or absolute directory, `base_hash` its digest, `edits`
    the absolute path of the file with the edits, or a name of `BUNDLED`; the trial of `record` has
    their ids.

    `data` are the settings that say which edits of the file were given and which texts were neutral
    (`DATA`), without those that were left out.
    """

    schema_number: int
    base: str
    base_hash: str
    version: str
    edits: str
    record: TrialRecord
    data: Mapping[str, str | int] = field(default_factory=dict)


def absolute(edits: str) -> str:
    """The edits' file so that it is found from anywhere; `~` is the home folder."""
    # A model is asked again from another folder, where a relative path names nothing. What is no
    # file is a data set of the hub.
    path = Path(edits).expanduser()
    if edits in BUNDLED or not path.exists():
        return edits
    return without_home(str(path.resolve()))


def write_note(directory: str | os.PathLike[str], note: EditNote) -> None:
    """Writes the note into the directory of the edited model; OSError where that cannot be."""
    write_atomic(Path(directory) / NAME, note_text(note) + "\n")


def note_text(note: EditNote) -> str:
    """The note as JSON, without the name of a home folder."""
    return dumps(_with_paths(note, without_home), indent=2)


def read_note(directory: str | os.PathLike[str]) -> EditNote | None:
    """The note of an edited model, None for any other; a UsageError where it is unreadable."""
    path = Path(directory) / NAME
    if not os.path.lexists(path):
        return None
    return _checked(path, read_json(path, "the note of an edited model", MOST))


def parse_note(text: str, path: Path) -> EditNote:
    """The note in a text of the file `path`; a UsageError where it is none."""
    try:
        return _checked(path, parse_json(text))
    except Unreadable as error:
        raise UsageError(f"cannot read the note in {path}: {error}") from error


def _checked(path: Path, content: Any) -> EditNote:
    _check_schema(path, content)
    try:
        note = _with_paths(loads(EditNote, json.dumps(content)), with_home)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(f"cannot read {path}: see its field '{field}'; {_REMEDY}") from error
    strange = [key for key in note.data if key not in DATA]
    if strange:
        raise UsageError(f"{path}: {unknown('setting under data', strange[0], DATA)}; {_REMEDY}")
    for field, text in (("base", note.base), ("edits", note.edits)):
        if not text or "\0" in text or len(text) > LONGEST:
            raise UsageError(f"{path}: '{field}' is {shown(text)}, which names nothing; {_REMEDY}")
    if reason := unsound(note.record):
        raise UsageError(f"{path}: of its record, {reason}; {_REMEDY}")
    return note


def _with_paths(note: EditNote, written: Callable[[str], str]) -> EditNote:
    """The note with its paths written otherwise."""
    data = {
        key: written(value) if isinstance(value, str) else value for key, value in note.data.items()
    }
    return replace(note, base=written(note.base), edits=written(note.edits), data=data)


def _check_schema(path: Path, content: Any) -> None:
    number = content.get("schema_number") if isinstance(content, dict) else None
    # Not isinstance: true is an int to Python.
    if type(number) is not int or number < 1:
        raise UsageError(f"cannot read {path}: it has no schema number; {_REMEDY}")
    if number > SCHEMA:
        raise UsageError(
            f"{path} was written by a newer locscope (schema {shown(number)}, this one reads up to "
            f"{SCHEMA}): update locscope"
        )
