"""Edit sets: read from a file whose format is recognised, checked, and split without leaks.

A format is a function `(row) -> Edit` in a file here and an entry in `FORMATS` (`formats.py`). What
is the same for all formats is done here: fields that no reader uses, templates with {}, ids.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from locscope.edits.formats import FORMATS, EditFormat, recognise
from locscope.edits.rows import Row, rows_of
from locscope.edits.texts import filled, key
from locscope.edits.unread import unread
from locscope.errors import UsageError
from locscope.records import Edit
from locscope.records.codec import fingerprint

__all__ = ["FORMATS", "EditFormat", "EditSet", "narrowed", "read_edits", "recognise"]


@dataclass(frozen=True)
class EditSet:
    """The edits of a run: `total` rows were in the file, `fingerprint` is a hash of these edits.

    `source` is what they can be read from again: `demo`, or the path of the file. `notes` are
    sentences on the file for those who read the results.
    """

    name: str
    format: str
    edits: tuple[Edit, ...]
    fingerprint: str
    total: int
    notes: tuple[str, ...] = ()
    source: str = ""


def read_edits(source: str, *, limit: int | None = None, seed: int = 0) -> EditSet:
    """The edits in a file, or the bundled ones for `demo`, `limit` of them chosen by `seed`.

    Every row is checked, also those that the limit leaves out. Raises UsageError, which names
    file, row and field, where something cannot be used, and where the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} leaves no edits: give at least 1")
    if source == "demo":
        packaged = files("locscope.edits") / "demo.json"
        if not packaged.is_file():
            raise UsageError("the bundled edits are missing from this installation: reinstall")
        with as_file(packaged) as path:
            return _read("demo", source, path, limit, seed)
    path = Path(source).expanduser()
    return _read(path.stem, source, path, limit, seed)


def narrowed(edit_set: EditSet, edits: Iterable[Edit], *notes: str) -> EditSet:
    """The set with other edits (after checks, lent neighbours, ...), hashed anew, notes added."""
    edits = tuple(edits)
    return replace(
        edit_set, edits=edits, fingerprint=fingerprint(edits), notes=(*edit_set.notes, *notes)
    )


def _read(name: str, source: str, path: Path, limit: int | None, seed: int) -> EditSet:
    rows = rows_of(path)
    entry = recognise(rows)
    unused = unread(entry, rows)
    raw = [entry.read(row) for row in rows]
    made = [filled(row.where, edit) for row, edit in zip(rows, raw, strict=True)]
    edits = _with_ids(entry.name, rows, made)
    chosen = _chosen(edits, limit, seed)
    templates = sum(edit is not before for edit, before in zip(made, raw, strict=True))
    notes = (*_file_notes(entry, unused, templates), *_notes(chosen))
    if len(chosen) < len(edits):
        notes = (f"{len(chosen)} of {len(edits)} rows, chosen at random with seed {seed}", *notes)
    return EditSet(name, entry.name, chosen, fingerprint(chosen), len(rows), notes, source)


def _file_notes(entry: EditFormat, unused: Sequence[str], templates: int) -> tuple[str, ...]:
    """Notes on the file as a whole: the format's own, fields that are not used, templates."""
    notes = [entry.note] if entry.note else []
    if unused:
        notes.append(f"fields of the file that are not used: {', '.join(unused)}")
    if templates:
        notes.append(f"edits with {{}} in a prompt, filled with their subject: {templates}")
    return tuple(notes)


def _chosen(edits: tuple[Edit, ...], limit: int | None, seed: int) -> tuple[Edit, ...]:
    if limit is None or limit >= len(edits):
        return edits
    # Sorted, as the last of conflicting edits counts: that is said of the order of the file.
    return tuple(edits[i] for i in sorted(random.Random(seed).sample(range(len(edits)), limit)))


def _with_ids(name: str, rows: Sequence[Row], edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Every edit with its own id: that of the file, else `<format>-<row>`.

    Two equal ids are an error in the format `own`, where each is meant to name one edit. In a
    published file the later one gets a number.
    """
    first: dict[str, Row] = {}
    for row, edit in zip(rows, edits, strict=True):
        if edit.id and edit.id in first and name == "own":
            raise UsageError(
                f"{row.where}: field 'id' is '{edit.id}', as in {first[edit.id].where}; "
                "give every edit its own"
            )
        first.setdefault(edit.id, row)
    taken: set[str] = set()
    named = []
    for row, edit in zip(rows, edits, strict=True):
        wanted, number = edit.id or f"{name}-{row.number}", 1
        unused = wanted
        # An id that the file gives to some row goes to that row, not to one without an id.
        while unused in taken or (not edit.id and unused in first):
            number += 1
            unused = f"{wanted}.{number}"
        taken.add(unused)
        named.append(replace(edit, id=unused))
    return tuple(named)


def _notes(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    counts = Counter[str]()
    for edit in edits:
        counts["a new target that is also the old answer"] += key(edit.old) == key(edit.target)
        counts["a rephrase equal to the prompt"] += key(edit.prompt) in map(key, edit.rephrases)
        counts["no rephrases"] += not edit.rephrases
        counts["no neighbours"] += not edit.neighbours
    return tuple(f"edits with {what}: {count}" for what, count in counts.items() if count)
