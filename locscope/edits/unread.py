"""Fields of a file that its reader does not use: named in a note, or refused.

A field that no reader uses may be what the results should be judged by. So only fields that cannot
be (numbers, and by their names ids, relations, sources and the like) are left with a note.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import isnan
from textwrap import shorten
from typing import Any

from locscope.edits.formats import EditFormat
from locscope.edits.recognise import missing, named, spread
from locscope.edits.rows import Row
from locscope.errors import UsageError

_HARMLESS = re.compile(
    r"(\w+_)?(ids?|idx|index|qid|pid|uid|uuid|rel|relation|source|tags?|type|split|dataset|lang"
    r"|language|category|domain|topic|date|time|timestamp|url|author|version|comment|notes?)"
    r"|rel(ation)?_\w+",
    re.IGNORECASE,
)
"""Names of fields that say where an edit comes from, not what it is or how it is judged."""
_MEANT = {
    "rephrase": ("rephrases", "rephrase_prompt", "rephrase"),
    "paraphrase": ("rephrases", "rephrase_prompt", "rephrase"),
    "loc": ("neighbours", "locality_prompt", "loc"),
    "neighb": ("neighbours", "locality_prompt", "loc"),
    "portab": ("multihop", "portability"),
    "mhop": ("multihop", "portability"),
    "target_new": ("target",),
    "ground_truth": ("old",),
    "target_true": ("old", "ground_truth"),
}
"""Beginning of a field's name in other layouts, and the names of its content in formats here."""
SHOWN = 200
"""Characters of a list of fields in an error."""
ALIKE = 0.75
"""How alike two names must be (0..1, of difflib) for one to be taken as a slip for the other."""


def unread(entry: EditFormat, rows: Sequence[Row]) -> tuple[str, ...]:
    """The harmless fields that the format's reader does not use, in the order of the file.

    Raises UsageError, which names the row and the fields, where others are not used: an edit may
    have to be judged by them.
    """
    harmless = dict[str, None]()
    for row in rows:
        cells = spread(row.cells, entry.reads)
        left = {name: value for name, value in cells.items() if name not in entry.reads}
        filled = [name for name, value in left.items() if not _empty(value)]
        # Cells that hold nothing refuse no file: tables have a cell for every column.
        refused = [n for n in filled if not _is_harmless(n, left[n], entry, row.from_csv)]
        if refused:
            raise UsageError(f"{row.where}: {_refusal(entry, refused, row.cells)}")
        harmless.update(dict.fromkeys(filled))
    return tuple(harmless)


def _empty(value: Any) -> bool:
    """Whether the value holds nothing; tables write NaN for that."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(map(_empty, value.values()))
    if isinstance(value, list):
        return all(map(_empty, value))
    return value is None or (isinstance(value, float) and isnan(value))


def _is_harmless(name: str, value: Any, entry: EditFormat, from_csv: bool) -> bool:
    if named(name, entry.aside) or isinstance(value, int | float):
        return True
    # Cells of a CSV file are all texts: a number is recognised by its characters.
    if from_csv and isinstance(value, str) and _is_number(value):
        return True
    parts = value if isinstance(value, list) else [value]
    plain = not any(isinstance(part, list | Mapping) for part in parts)
    return plain and _HARMLESS.fullmatch(name.rpartition(".")[2]) is not None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refusal(entry: EditFormat, names: Sequence[str], cells: Mapping[str, Any]) -> str:
    near = {name: _near(name, entry, cells) for name in names}
    lacking = missing(entry, cells)
    if len(names) == 1 and near[names[0]] and not lacking:
        return f"unknown field '{names[0]}': did you mean {near[names[0]]}?"
    shown = ", ".join(
        f"'{name}' (did you mean {field}?)" if field else f"'{name}'"
        for name, field in near.items()
    )
    fields = "field" if len(names) == 1 else "fields"
    needed = f", and {' and '.join(lacking)} is missing" if lacking else ""
    reads = shorten(", ".join(entry.reads), SHOWN)
    return (
        f"unknown {fields} {shown}{needed}; the {entry.name} format reads {reads}: rename what "
        "belongs to an edit and remove the rest"
    )


def _near(name: str, entry: EditFormat, cells: Mapping[str, Any]) -> str:
    """The field that was probably meant, one that is not there; empty where none is similar."""
    lower, free = name.strip().lower(), [field for field in entry.reads if field not in cells]
    if lower == "answer":
        return next((field for field in ("target", "old") if field in free), "")
    for beginning, meant in _MEANT.items():
        if lower.startswith(beginning):
            fields = [field for field in meant if field in free]
            if fields:
                return fields[0]
    return next(iter(get_close_matches(lower, free, n=1, cutoff=ALIKE)), "")
