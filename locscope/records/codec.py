"""Records to JSON text and back, checked against their annotations."""

import hashlib
from functools import cache
from math import isfinite, isnan
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

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
