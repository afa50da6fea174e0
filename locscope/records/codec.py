"""Records to JSON text and back, checked against their annotations."""

import hashlib
from functools import cache
from math import isfinite, isnan
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, TypeAdapter

from locscope.errors import UsageError
from locscope.locations import Location

Record = TypeVar("Record")


# JSON has no NaN, and strict readers refuse what Python's own writer makes of one.
def _null_is_nan(value: Any) -> Any:
    return float("nan") if value is None else value


def _plain(value: float) -> float | str | None:
    if isnan(value):
        return None
    return value if isfinite(value) else str(value)


Number = Annotated[float, BeforeValidator(_null_is_nan), PlainSerializer(_plain, when_used="json")]
"""A float that may be not measured: NaN in Python, null in JSON.

A loss that overflowed was measured: infinity is the text "inf" or "-inf" in JSON.
"""


def _location(value: Any) -> Location:
    if isinstance(value, Location):
        return value
    if not isinstance(value, str):
        raise ValueError("a location is text")
    try:
        return Location.parse(value)
    # pydantic takes a ValueError alone for a field that cannot be read.
    except UsageError as error:
        raise ValueError(str(error)) from error


def _location_or_words(value: Any) -> Location | str:
    try:
        return _location(value)
    except ValueError:
        if isinstance(value, str):
            return value
        raise


def _location_or_none(value: Any) -> Location | None:
    return None if value in ("", None) else _location(value)


# A function of its own: `str` has no signature, which pydantic 2.7 asks for.
def _text(location: Location | str | None) -> str:
    return str(location or "")


At = Annotated[Location, PlainValidator(_location), PlainSerializer(_text)]
"""A location, which is text in JSON: parsed once, when the record is read."""
AtOrWords = Annotated[Location | str, PlainValidator(_location_or_words), PlainSerializer(_text)]
"""A location, or words for several (`5 random`)."""
AtOrNone = Annotated[Location | None, PlainValidator(_location_or_none), PlainSerializer(_text)]
"""A location, or None where there is none, which is empty text in JSON."""


# Building an adapter takes milliseconds, reading a record microseconds.
@cache
def _adapter(kind: type) -> Any:
    return TypeAdapter(kind)


def dumps(record: Any, indent: int | None = None) -> str:
    """The record as JSON text; NaN is written as null."""
    return _adapter(type(record)).dump_json(record, indent=indent).decode()


def loads(kind: type[Record], text: str | bytes) -> Record:
    """The record of that kind in the JSON text; a pydantic ValidationError says what is wrong."""
    return _adapter(kind).validate_json(text)


def fingerprint(*values: Any, length: int = 12) -> str:
    """A short stable hash of plain values and records, for names of trials and folders."""
    parts = [value if isinstance(value, str) else dumps(value) for value in values]
    # A separator that no value holds, so that ("a", "bc") and ("ab", "c") differ.
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:length]
