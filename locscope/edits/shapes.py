"""JSON values that hold edits in another shape than one list of objects.

A list under a name (`{"data": [...]}`), rows under their numbers, EasyEdit's keyword arrays and
other columns, KnowEdit's sanitation in two lists, and one edit alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from locscope.edits.rows import kind_of
from locscope.errors import UsageError

_KEYWORDS = {
    "prompts": "prompt",
    "rephrase_prompts": "rephrase_prompt",
    "locality_inputs": "locality",
    "portability_inputs": "portability",
    "subjects": "subject",
    "targets_new": "target_new",
}
"""Arguments of EasyEdit's `edit`, and the fields of one edit that they are lists of."""
_FORGOTTEN = (("success", "locality"), ("K_F", "K_R"))
"""Names of what is to be forgotten and of what is to be retained."""


def rows_in(value: Any, name: str) -> tuple[list[Any], tuple[str, ...]]:
    """The rows that a JSON value holds, and notes on what beside them is not used.

    Raises UsageError where it holds none, or several lists of which each may be meant.
    """
    if isinstance(value, list):
        return value, ()
    if not isinstance(value, Mapping):
        raise UsageError(f"{name}: found {kind_of(value)}; write one list of objects")
    for forgotten, retained in _FORGOTTEN:
        if isinstance(value.get(forgotten), list) and isinstance(value.get(retained), list):
            return _with_retained(value[forgotten], value[retained]), ()
    # pandas writes a frame so (`orient="index"`): rows under their numbers.
    if value and all(key.isdigit() and isinstance(row, Mapping) for key, row in value.items()):
        return list(value.values()), ()
    lists = {key: inner for key, inner in value.items() if _is_rows(inner)}
    if len(lists) == 1:
        return _only(value, *lists.items())
    if len(lists) > 1 and len(lists) == len(value):
        named = ", ".join(f"'{key}'" for key in lists)
        raise UsageError(
            f"{name}: found several lists of objects ({named}): save the one to be edited as a "
            "file of its own"
        )
    columns = _columns(value, name)
    return (columns, ()) if columns else ([value], ())


def _only(value: Mapping[str, Any], named: tuple[str, Any]) -> tuple[list[Any], tuple[str, ...]]:
    """The rows in the one list, if nothing beside it may be a part of an edit."""
    key, rows = named
    # An edit with one list of probes, as `neighbours`, is no file with that list.
    if "prompt" in value or "requested_rewrite" in value or "edit" in value or "src" in value:
        return [value], ()
    others = [name for name, inner in value.items() if name != key and inner not in (None, "", [])]
    return rows, ((f"beside the list '{key}' and not used: {', '.join(others)}",) if others else ())


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _with_retained(forgotten: Sequence[Any], retained: Sequence[Any]) -> list[Any]:
    """What is to be forgotten, each with its share of what is to be retained as neighbours."""
    count = max(1, len(forgotten))
    kept = [
        {key: row[key] for key in ("question", "ground_truth") if key in row}
        for row in retained
        if isinstance(row, Mapping)
    ]
    return [
        {**row, "locality": kept[i::count]} if isinstance(row, Mapping) else row
        for i, row in enumerate(forgotten)
    ]


def _columns(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of lists that have one entry for each edit; nothing where there are no such lists.

    Raises UsageError where they differ in length.
    """
    firsts = [key for key in ("prompts", "prompt") if isinstance(value.get(key), list)]
    if not firsts:
        return []
    count = len(value[firsts[0]])
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, entries in value.items():
        if entries is None:
            continue
        for row, cell in zip(rows, _entries(entries, key, count, name), strict=True):
            row[_KEYWORDS.get(key, key)] = cell
    return rows


def _entries(entries: Any, key: str, count: int, name: str) -> list[Any]:
    """One entry of a column for each edit; of an object, its columns for each edit."""
    if isinstance(entries, Mapping):
        inner = {
            sub: _entries(column, f"{key}.{sub}", count, name) for sub, column in entries.items()
        }
        return [{sub: column[i] for sub, column in inner.items()} for i in range(count)]
    if not isinstance(entries, list) or len(entries) != count:
        what = f"{len(entries)} entries" if isinstance(entries, list) else kind_of(entries)
        raise UsageError(f"{name}: '{key}' has {what}, where there are {count} prompts")
    return entries
