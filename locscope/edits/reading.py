"""The edits in the rows of a file, and what of them was left out, counted and named."""

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from locscope.edits.formats import EditFormat
from locscope.edits.rows import Row
from locscope.edits.texts import filled
from locscope.errors import UsageError
from locscope.records import Edit

SHOWN = 5
"""How many row numbers and reasons a note lists."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's search for cycles stands still meanwhile. It would look through all objects again
    and again while many are made, and texts have no cycles: of 30,000 edits that took a quarter to
    two fifths of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Read(NamedTuple):
    """Edits, each with its row, how many had {} in a prompt, and notes on what was left out."""

    rows: tuple[Row, ...]
    edits: tuple[Edit, ...]
    templates: int
    notes: tuple[str, ...]


def read_rows(entry: EditFormat, rows: Sequence[Row]) -> Read:
    """The edits in the rows of a file of that format.

    In a published format a row that cannot be used is left out, and a note has its number and why.
    Raises UsageError for such a row in a strict format, and where most rows are such.
    """
    read, edits, templates = list[Row](), list[Edit](), 0
    wrong: dict[str, list[int]] = {}
    for row in (single for whole in rows for single in entry.expanded(whole)):
        try:
            raw = entry.read(row)
            made = filled(row.where, raw)
        except UsageError as error:
            if entry.strict:
                raise
            wrong.setdefault(_reason(error, row), []).append(row.number)
            # What its reader left out is gone with the row.
            row.left_out.clear()
            continue
        templates += made is not raw
        read.append(row)
        edits.append(made)
    count = sum(map(len, wrong.values()))
    if count > len(edits):
        raise UsageError(f"{rows[0].where}: read as {entry.name}, {_in_words(wrong, count)}")
    notes = (f"left out, {_in_words(wrong, count)}",) if wrong else ()
    return Read(tuple(read), tuple(edits), templates, (*notes, *_left_out(read)))


def _reason(error: UsageError, row: Row) -> str:
    """Why a row cannot be used, without saying which it is."""
    return str(error).removeprefix(row.where).lstrip(":, ")


def _in_words(wrong: dict[str, list[int]], count: int) -> str:
    """How many rows, why, and their numbers; the most frequent reasons first."""
    reasons = sorted(wrong.items(), key=lambda item: -len(item[1]))
    shown = [f"{reason} (row {_numbers(rows)})" for reason, rows in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        shown.append(f"and {len(reasons) - SHOWN} other reasons")
    return f"rows that cannot be used: {count}; {'; '.join(shown)}"


def _numbers(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN]))
    return f"{shown} and {len(rows) - SHOWN} more" if len(rows) > SHOWN else shown


def _left_out(rows: Sequence[Row]) -> list[str]:
    """Sentences on what readers left out of the rows that they read."""
    # Rows of edits that lie in one row of the file have one list.
    lists = {id(row.left_out): row.left_out for row in rows}
    counts = Counter(what for left_out in lists.values() for what in left_out)
    return [f"left out, {what}: {count}" for what, count in counts.items()]
