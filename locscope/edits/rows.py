"""A file of edits as rows, whatever their format: JSON list, JSONL or CSV.

The suffix decides: ``.jsonl`` and ``.ndjson`` have one object per line, ``.csv`` a header line,
anything else is one JSON list of objects. All are UTF-8; a byte order mark is accepted.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locscope.errors import UsageError
from locscope.records import Probe
from locscope.runs.reading import Unreadable, once


@dataclass(frozen=True)
class Row:
    """One row: its number from 1 (the line in JSONL and CSV), where it is in words, its cells."""

    number: int
    where: str
    cells: Mapping[str, Any]
    from_csv: bool = False


def rows_of(path: Path) -> tuple[Row, ...]:
    """All rows of the file, at least one.

    Raises UsageError, which names the file and the line, where it cannot be read.
    """
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path} is empty: it must hold at least one edit")
    rows = tuple(_READERS.get(path.suffix.lower(), _json_rows)(path, text))
    if not rows:
        raise UsageError(f"{path} has no rows: it must hold at least one edit")
    return rows


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a directory: give the file with the edits")
        if not path.exists():
            raise UsageError(f"no edits file {path}: give a file, or 'demo' for the bundled edits")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read {path}: byte {error.start} is not UTF-8 text; save it as UTF-8"
        ) from error


def _decoded(text: str, where: str, hint: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=once)
    except Unreadable as error:
        raise UsageError(f"{where}: {error}: leave one") from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{where}: not JSON ({error.msg} at {position}); {hint}") from error
    # Lists nested too deeply, and integers of more digits than Python converts.
    except (RecursionError, ValueError) as error:
        raise UsageError(f"{where}: not JSON that can be read; {hint}") from error


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: an edit is an object with fields, not {kind_of(value)}")
    return value


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    hint = "write one list of objects, or name a file with one object per line .jsonl"
    rows = _decoded(text, str(path), hint)
    if not isinstance(rows, list):
        raise UsageError(f"{path}: found {kind_of(rows)}; {hint}")
    for number, value in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        yield Row(number, where, _object(value, where))


def _jsonl_rows(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines: it also breaks at separators (U+2028) that JSON allows inside strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            value = _decoded(line, where, "write one object per line")
            yield Row(number, where, _object(value, where))


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    records = _csv_records(path, text)
    first = next(records, None)
    header = [name.strip() for name in first[1]] if first else []
    if not header or len(set(header)) < len(header) or "" in header:
        raise UsageError(f"{path}, line 1: the header must name every column, each once")
    for number, cells in records:
        where = f"{path}, line {number}"
        if len(cells) > len(header):
            raise UsageError(
                f"{where}: {len(cells)} cells under {len(header)} columns; quote cells with commas"
            )
        yield Row(number, where, dict(zip(header, cells, strict=False)), from_csv=True)


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line each begins on; a quoted cell may span lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    last = 0
    try:
        for cells in reader:
            begins, last = last + 1, reader.line_num
            if cells:
                yield begins, cells
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


_READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
}


def kind_of(value: Any) -> str:
    """What a JSON value is, in words for an error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def checked_text(row: Row, field: str, value: Any) -> str:
    """The value as text without outer spaces.

    Raises UsageError where it is not a text, or not one that can be encoded.
    """
    if not isinstance(value, str):
        hint = "put it in quotes" if isinstance(value, int | float) else "write a text"
        raise UsageError(f"{row.where}: field '{field}' is {kind_of(value)}, not a text; {hint}")
    # JSON may hold half of a surrogate pair, which a tokenizer refuses later without a row number.
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{row.where}: field '{field}' has half a surrogate pair") from error
    return value.strip()


def required(row: Row, field: str) -> str:
    """The text of a field that must be there and not empty.

    Raises UsageError where it is missing, empty or not a text.
    """
    if field not in row.cells:
        raise UsageError(f"{row.where}: field '{field}' is missing; every edit needs it")
    text = checked_text(row, field, row.cells[field])
    if not text:
        raise UsageError(f"{row.where}: field '{field}' is empty; every edit needs it")
    return text


def optional(row: Row, field: str) -> str:
    """The text of a field that may be absent, null or empty: then empty."""
    value = row.cells.get(field)
    return "" if value is None else checked_text(row, field, value)


def identifier(row: Row, field: str) -> str:
    """The name of an edit, a text or a whole number; empty where the row gives none."""
    value = row.cells.get(field)
    return str(value) if type(value) is int else optional(row, field)


def first_text(row: Row, field: str, value: Any) -> str:
    """The first text of a list of accepted answers, also of lists of lists, or the text itself;
    empty where there is none."""
    if isinstance(value, list):
        return next(filter(None, (first_text(row, field, answer) for answer in value)), "")
    return "" if value is None else checked_text(row, field, value)


def texts(row: Row, field: str) -> tuple[str, ...]:
    """The texts of a field that holds one or a list of them; empty ones are left out."""
    value = row.cells.get(field)
    listed = value if isinstance(value, list) else [value]
    checked = (checked_text(row, field, entry) for entry in listed if entry is not None)
    return tuple(text for text in checked if text)


def single(row: Row, field: str) -> tuple[str, ...]:
    """The text of a field that holds one; nothing where it is absent, null or empty."""
    text = optional(row, field)
    return (text,) if text else ()


def probe(row: Row, prompt: str, answer: str) -> tuple[Probe, ...]:
    """The probe in two fields, its prompt and its answer; nothing where there is no prompt."""
    text, expected = optional(row, prompt), optional(row, answer)
    return (Probe(text, expected),) if text else ()


def inner(row: Row, field: str) -> Row:
    """The object in a field as a row of its own; without keys where the field is absent.

    Raises UsageError where the field holds anything else.
    """
    value = row.cells.get(field)
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"{row.where}: field '{field}' is {kind_of(value)}, not an object")
    return Row(row.number, f"{row.where}, {field}", value or {})
