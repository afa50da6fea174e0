"""Edit sets: read from a file whose format is recognised, checked, and split without leaks.

A format is a file here with a function `read(row) -> Edit` and an entry in `FORMATS`
(`formats.py`). What holds for files of all formats is done here: fields that no
reader uses, places for the subject, ids.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from locscope.edits.formats import FORMATS, Format, recognise
from locscope.edits.rows import Row, read_rows
from locscope.edits.templates import filled
from locscope.edits.texts import key
from locscope.edits.unread import unread
from locscope.errors import UsageError
from locscope.records import Edit
from locscope.records.codec import fingerprint

__all__ = ["FORMATS", "EditSet", "Format", "narrowed", "read_edits", "recognise"]


@dataclass(frozen=True)
class EditSet:
    """Edits as used: `total` rows were in the file, `fingerprint` is a hash of the edits kept.

    `source` is what they can be read from again: `demo`, or the path of the file. `notes` say in
    sentences what a reader of the results should know of the file.
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

    A UsageError names file, row and field of what cannot be used. Every row is checked, also
    those that the limit leaves out.
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
    kept = tuple(edits)
    return replace(
        edit_set, edits=kept, fingerprint=fingerprint(kept), notes=(*edit_set.notes, *notes)
    )


def _read(name: str, source: str, path: Path, limit: int | None, seed: int) -> EditSet:
    rows = read_rows(path)
    entry = recognise(rows)
    passed = unread(entry, rows)
    found = [entry.read(row) for row in rows]
    made = [filled(row.where, edit) for row, edit in zip(rows, found, strict=True)]
    edits = _with_ids(entry.name, rows, made)
    kept = _chosen(edits, limit, seed)
    count = sum(one is not other for one, other in zip(found, made, strict=True))
    notes = (*_file_notes(entry, passed, count), *_notes(kept))
    if len(kept) < len(edits):
        notes = (f"{len(kept)} of {len(edits)} rows, chosen at random with seed {seed}", *notes)
    return EditSet(name, entry.name, kept, fingerprint(kept), len(rows), notes, source)


def _file_notes(entry: Format, passed: Sequence[str], templates: int) -> tuple[str, ...]:
    """What is said of the file as a whole: the format's own note, fields passed by, templates."""
    notes = [entry.note] if entry.note else []
    if passed:
        notes.append(f"fields of the file that are not used: {', '.join(passed)}")
    if templates:
        notes.append(f"edits with {{}} in a prompt, filled with their subject: {templates}")
    return tuple(notes)


def _chosen(edits: tuple[Edit, ...], limit: int | None, seed: int) -> tuple[Edit, ...]:
    if limit is None or limit >= len(edits):
        return edits
    return tuple(edits[i] for i in sorted(random.Random(seed).sample(range(len(edits)), limit)))


def _with_ids(name: str, rows: Sequence[Row], edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Every edit with an id, each once: the file's own, else `<format>-<row>`.

    Two equal ids are an error in one's own format, where they were meant to name one edit; a
    published file is taken as it is and the later one numbered.
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
        fresh = wanted
        # An id that the file gives to some row goes to that row, not to one without an id.
        while fresh in taken or (not edit.id and fresh in first):
            number += 1
            fresh = f"{wanted}.{number}"
        taken.add(fresh)
        named.append(replace(edit, id=fresh))
    return tuple(named)


def _notes(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    counts = Counter[str]()
    for edit in edits:
        counts["a new target that is also the old answer"] += key(edit.old) == key(edit.target)
        counts["a rephrase equal to the prompt"] += key(edit.prompt) in map(key, edit.rephrases)
        counts["no rephrases"] += not edit.rephrases
        counts["no neighbours"] += not edit.neighbours
    return tuple(f"edits with {what}: {count}" for what, count in counts.items() if count)
