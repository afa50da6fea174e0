"""Which format a file has, told by the fields of its rows."""

import re
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from locscope.edits.formats import FORMATS, EditFormat
from locscope.edits.rows import Row
from locscope.errors import UsageError

SHOWN = 200
"""Characters of a list of fields in an error."""
_OTHER_NAMES = {
    "prompt": ("question", "query", "instruction", "input", "text", "sentence", "statement"),
    "target": (
        "target_new",
        "new_target",
        "answer",
        "new_answer",
        "new",
        "label",
        "output",
        "completion",
        "response",
        "object",
    ),
    "subject": ("entity", "subj", "about"),
    "old": ("old_answer", "original", "ground_truth", "target_true"),
}
"""What people call the fields of our own format, the likeliest first."""


def recognise(rows: Sequence[Row]) -> EditFormat:
    """The format of a file with these rows.

    Half of the rows must have its fields: a first row without an old answer does not decide, nor
    does a slip in one of many. Raises UsageError where no format fits, with all that speaks
    against the nearest one.
    """
    for entry in FORMATS.values():
        complete = sum(not missing(entry, row.cells) for row in rows)
        if 2 * complete >= len(rows) and _any_there(rows, entry.any_of):
            return entry
    raise UsageError(f"{rows[0].where}: {_refusal(rows[0].cells)}")


def missing(entry: EditFormat, cells: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that every edit of the format needs and that are not there."""
    return tuple(field for field in entry.fields if not _there(cells, field))


def named(field: str, names: Sequence[str]) -> bool:
    """Whether a field is among the names, of which one that ends in `*` stands for many."""
    return any(
        field.startswith(name[:-1]) if name.endswith("*") else field == name for name in names
    )


def spread(cells: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The cells, with the keys of an object, or of those in a list, as `field.key` where a name
    is of that form; of a list the values are one too."""
    inside = {name.partition(".")[0] for name in names if "." in name}
    found = dict[str, Any]()
    for name, value in cells.items():
        if name not in inside:
            found[name] = value
        elif isinstance(value, Mapping):
            found.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            for one in value if isinstance(value, list) else ():
                for key, inner in one.items() if isinstance(one, Mapping) else ():
                    found.setdefault(f"{name}.{key}", []).append(inner)
    return found


def _any_there(rows: Sequence[Row], fields: Sequence[str]) -> bool:
    """Whether any row has any of the fields, or there are no fields to look for."""
    return not fields or any(_there(row.cells, field) for row in rows for field in fields)


def _there(cells: Mapping[str, Any], field: str) -> bool:
    name, _, key = field.partition(".")
    if not key:
        return name in cells
    value = cells.get(name)
    objects = value if isinstance(value, list) else [value]
    return any(isinstance(item, Mapping) and key in item for item in objects)


def _refusal(cells: Mapping[str, Any]) -> str:
    """All fields, and what the nearest format needs and does not read."""
    # Reversed: of formats that are equally near the last is taken, which is our own.
    entry = max(reversed(FORMATS.values()), key=lambda entry: _nearness(entry, cells))
    fields = shorten(", ".join(cells) or "none", SHOWN)
    said = f"no known layout has these fields ({fields})"
    if renamed := _renamed(cells):
        return f"{said}; if they are yours, {renamed}, or see `locscope list edits`"
    hint = "name your fields prompt and target, or see `locscope list edits`"
    others = [field for field in cells if not _known(field, entry)]
    if len(others) == len(cells):
        return f"{said}, nor any of them; {hint}"
    lacking = " and ".join(f"'{field}'" for field in missing(entry, cells))
    one_of = shorten(", ".join(entry.any_of), SHOWN)
    needed = f"needs {lacking}" if lacking else f"needs one of {one_of}"
    unread = f" and does not read {shorten(', '.join(others), SHOWN)}" if others else ""
    return f"{said}; the nearest, {entry.name}, {needed}{unread}; {hint}"


def _renamed(cells: Mapping[str, Any]) -> str:
    """How to rename fields so that they are of our own format; empty where that cannot be told."""
    # Reversed, so that of two fields of one plain name the first is kept.
    plain = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed([*cells])}
    meant = dict[str, str]()
    for field, others in _OTHER_NAMES.items():
        found = next((plain[name] for name in (field, *others) if name in plain), None)
        if found is not None:
            meant[found] = field
    if not {"prompt", "target"} <= set(meant.values()):
        return ""
    lines = [f"'{name}' to {field}" for name, field in meant.items() if name != field]
    others = [
        f"'{name}'" for name in cells if name not in meant and not _known(name, FORMATS["own"])
    ]
    removed = f" and remove {shorten(', '.join(others), SHOWN)}" if others else ""
    return f"rename {', '.join(lines)}{removed}"


def _nearness(entry: EditFormat, cells: Mapping[str, Any]) -> float:
    """How many of the fields the format knows, less what it lacks and what it does not know."""
    known = sum(_known(field, entry) for field in cells)
    lacking = len(missing(entry, cells))
    lacking += bool(entry.any_of) and not any(_there(cells, field) for field in entry.any_of)
    return known - lacking - (len(cells) - known) / 2


def _known(field: str, entry: EditFormat) -> bool:
    names = [name.partition(".")[0] for name in (*entry.reads, *entry.aside)]
    return named(field, names)
