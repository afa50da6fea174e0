"""Edit sets: read from a file whose format is recognised, checked, and split without leaks.

A format is a function `(row) -> Edit` in a file of `readers/` and an entry in `FORMATS`
(`formats.py`). What is the same for all formats is done here: the kind of file, fields that no
reader uses, rows that cannot be used, templates with {}, ids.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from locscope.display import LINES, visible
from locscope.edits.checks import (
    Policy,
    drop_edited_neighbours,
    notes_on_conflicts,
    notes_on_neighbours,
    resolve_conflicts,
)
from locscope.edits.formats import FORMATS, EditFormat
from locscope.edits.reading import read_rows, uncollected
from locscope.edits.recognise import recognise
from locscope.edits.rows import Row
from locscope.edits.sources import on_hub, rows_of
from locscope.edits.texts import key
from locscope.edits.unread import unread
from locscope.errors import UsageError
from locscope.records import Edit
from locscope.records.codec import fingerprint

__all__ = ["FORMATS", "EditFormat", "EditSet", "narrowed", "read_edits", "recognise", "settled"]


BUNDLED = {
    "demo": "the bundled edits",
    "facts": "edits of facts of common knowledge that SmolLM2-135M-Instruct knows",
}
"""Edits that come with the package: the first for the bundled model, the second for real ones."""


@dataclass(frozen=True)
class EditSet:
    """The edits of a run: `total` rows were in the file, `fingerprint` is a hash of these edits.

    `source` is what they can be read from again: a name of `BUNDLED`, the path of the file, or a
    name on the hub. `notes` are sentences on it for those who read the results.
    """

    name: str
    format: str
    edits: tuple[Edit, ...]
    fingerprint: str
    total: int
    notes: tuple[str, ...] = ()
    source: str = ""


def read_edits(source: str, *, limit: int | None = None, seed: int = 0) -> EditSet:
    """The edits in a file, a data set of the Hugging Face hub (`ORG/NAME` or `ORG/NAME:SPLIT`), or
    the bundled ones for `demo` and `facts`; `limit` of them chosen by `seed`.

    Every row is checked, also those that the limit leaves out. Raises UsageError, which names
    file, row and field, where something cannot be used, and where the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} leaves no edits: give at least 1")
    if source in BUNDLED:
        packaged = files("locscope.edits") / f"{source}.json"
        if not packaged.is_file():
            raise UsageError("the bundled edits are missing from this installation: reinstall")
        with as_file(packaged) as path:
            return _read(source, source, str(path), limit, seed)
    # A name for run folders: of a data set of the hub with its split, but no slash and colon.
    name = re.sub(r"[^\w.-]+", "-", source) if on_hub(source) else Path(source).stem
    return _read(name, source, source, limit, seed)


def narrowed(edit_set: EditSet, edits: Iterable[Edit], *notes: str) -> EditSet:
    """The set with other edits (after checks, lent neighbours, ...), hashed anew, notes added."""
    edits = tuple(edits)
    return replace(
        edit_set, edits=edits, fingerprint=fingerprint(edits), notes=(*edit_set.notes, *notes)
    )


@uncollected()
def settled(edit_set: EditSet, conflicts: Policy | None) -> EditSet:
    """The set as it is used: conflicts resolved by that policy, edited neighbours left out.

    Raises UsageError for conflicts without a policy, and where no edit is left.
    """
    resolved = resolve_conflicts(edit_set.edits, conflicts)
    trimmed = drop_edited_neighbours(resolved)
    # Counting what was left out goes through all edits again: mostly nothing was.
    changed = len(resolved) < len(edit_set.edits)
    notes = notes_on_conflicts(edit_set.edits, conflicts) if changed else ()
    return narrowed(edit_set, trimmed, *notes, *notes_on_neighbours(resolved, trimmed))


@uncollected()
def _read(name: str, source: str, where: str, limit: int | None, seed: int) -> EditSet:
    rows, beside = rows_of(where)
    entry = recognise(rows)
    unused = unread(entry, rows)
    read = read_rows(entry, rows)
    edits = _with_ids(entry.name, read.rows, read.edits)
    chosen = _chosen(read.rows, edits, limit, seed)
    notes = (*beside, *_file_notes(entry, unused, read.templates), *read.notes, *_notes(chosen))
    if len(chosen) < len(edits):
        what = "rows" if len(edits) == len(rows) else "edits"
        drawn = f"{len(chosen)} of {len(edits)} {what}, chosen at random with seed {seed}"
        notes = (drawn, *notes)
    elif limit is not None and limit > len(edits):
        notes = (f"limit {limit} is more than there is: all {len(edits)} edits are used", *notes)
    return EditSet(name, entry.name, chosen, fingerprint(chosen), len(rows), notes, source)


def _file_notes(entry: EditFormat, unused: Sequence[str], templates: int) -> tuple[str, ...]:
    """Notes on the file as a whole: the format's own, fields that are not used, templates."""
    notes = [entry.note] if entry.note else []
    if unused:
        notes.append(f"fields of the file that are not used: {', '.join(unused)}")
    if templates:
        notes.append(f"edits with {{}} in a prompt, filled with their subject: {templates}")
    return tuple(notes)


def _chosen(
    rows: Sequence[Row], edits: tuple[Edit, ...], limit: int | None, seed: int
) -> tuple[Edit, ...]:
    """`limit` of the edits, in file order, as the last of conflicting ones counts.

    Edits of one row of the file are taken together or not at all: they have questions in common.
    """
    if limit is None or limit >= len(edits):
        return edits
    rng, groups = random.Random(seed), dict[int, list[int]]()
    for position, row in enumerate(rows):
        groups.setdefault(row.number, []).append(position)
    if len(groups) == len(edits):
        return tuple(edits[i] for i in sorted(rng.sample(range(len(edits)), limit)))
    taken = list[int]()
    for group in rng.sample(list(groups.values()), len(groups)):
        if len(taken) + len(group) <= limit:
            taken += group
    if not taken:
        raise UsageError(f"limit {limit} leaves no edits: every row of this file has more")
    return tuple(edits[i] for i in sorted(taken))


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
    numbers = Counter[tuple[str, bool]]()
    named = []
    for row, edit in zip(rows, edits, strict=True):
        wanted = unused = edit.id or f"{name}-{row.number}"
        # An id that the file gives to some row goes to that row, not to one without an id.
        while unused in taken or (not edit.id and unused in first):
            # From the last number on: thousands of rows may have one id.
            numbers[wanted, bool(edit.id)] += 1
            unused = f"{wanted}.{numbers[wanted, bool(edit.id)] + 1}"
        taken.add(unused)
        named.append(replace(edit, id=unused))
    return tuple(named)


def _hides(edit: Edit) -> bool:
    return any(visible(text, LINES) != text for text in (edit.prompt, edit.target, edit.subject))


def _notes(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    counts = Counter[str]()
    for edit in edits:
        counts["a new target that is also the old answer"] += key(edit.old) == key(edit.target)
        counts["a rephrase equal to the prompt"] += key(edit.prompt) in map(key, edit.rephrases)
        counts["no rephrases"] += not edit.rephrases
        counts["no neighbours"] += not edit.neighbours
        # A space of no width is a token of its own, and a target with one is never answered.
        counts["characters that are not seen"] += _hides(edit)
    return tuple(f"edits with {what}: {count}" for what, count in counts.items() if count)
