"""A row of an edit file, and its fields as texts: what all readers share.

A reader takes a row's cells through the functions here, which check types and name row and field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from locscope.errors import UsageError
from locscope.records import Probe


@dataclass(frozen=True)
class Row:
    """One row: its number from 1 (the line in JSONL and tables), where it is in words, its cells.

    A reader appends to `left_out` what of the row it cannot use, in words; notes count them.
    """

    number: int
    where: str
    cells: Mapping[str, Any]
    from_csv: bool = False
    left_out: list[str] = field(default_factory=list, compare=False)


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


def first_answer(row: Row, field: str) -> str:
    """The first accepted answer in a field; empty where there is none."""
    return first_text(row, field, row.cells.get(field))


def first_required(row: Row, field: str) -> str:
    """The first accepted answer in a field that must hold one.

    Raises UsageError where there is none.
    """
    if isinstance(row.cells.get(field), list):
        text = first_text(row, field, row.cells[field])
        if text:
            return text
        raise UsageError(f"{row.where}: field '{field}' is empty; every edit needs it")
    return required(row, field)


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


def asked(row: Row, what: str, *probes: Probe) -> tuple[Probe, ...]:
    """The probes that have an answer: without one there is nothing to judge the model's by.

    The others are counted as left out, as `what` (`multi-hop questions`).
    """
    without = sum(not probe.answer for probe in probes)
    row.left_out.extend([f"{what} without an answer"] * without)
    return tuple(probe for probe in probes if probe.answer)


def inner(row: Row, field: str) -> Row:
    """The object in a field as a row of its own; without keys where the field is absent.

    Raises UsageError where the field holds anything else.
    """
    value = row.cells.get(field)
    if value is not None and not isinstance(value, Mapping):
        raise UsageError(f"{row.where}: field '{field}' is {kind_of(value)}, not an object")
    return Row(row.number, f"{row.where}, {field}", value or {}, left_out=row.left_out)
