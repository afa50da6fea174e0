"""The note beside an edited model: what it was before, and what was done to it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from locscope.errors import UsageError
from locscope.records import TrialRecord, dumps, loads
from locscope.runs.files import explained, write_atomic
from locscope.runs.private import with_home, without_home

NAME = "locscope.json"
BUNDLED = "demo"
"""In place of a file: the edits that come with the package."""
DATA = ("limit", "seed", "conflicts", "neutral", "abilities")
"""Settings that a model is asked with again, as it was measured when it was tuned."""


@dataclass(frozen=True)
class EditNote:
    """`base` is the untouched model's name or absolute directory, `base_hash` its digest, `edits`
    the absolute path of the file with the edits, or `demo`; the trial of `record` has their ids.

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
    # A model is asked again from another folder, where a relative path names nothing.
    return edits if edits == BUNDLED else without_home(str(Path(edits).expanduser().resolve()))


def write_note(directory: str | os.PathLike[str], note: EditNote) -> None:
    """Writes the note into the directory of the edited model."""
    path = Path(directory) / NAME
    with explained(f"write {path}"):
        write_atomic(path, dumps(_with_paths(note, without_home), indent=2) + "\n")


def read_note(directory: str | os.PathLike[str]) -> EditNote | None:
    """The note of an edited model, None for any other; a UsageError where it is unreadable."""
    path = Path(directory) / NAME
    if not path.is_file():
        return None
    try:
        return _with_paths(loads(EditNote, path.read_bytes()), with_home)
    except (OSError, ValidationError) as error:
        raise UsageError(f"cannot read {path}: give --base instead") from error


def _with_paths(note: EditNote, written: Callable[[str], str]) -> EditNote:
    """The note with its paths written otherwise."""
    data = {key: written(one) if isinstance(one, str) else one for key, one in note.data.items()}
    return replace(note, base=written(note.base), edits=written(note.edits), data=data)
