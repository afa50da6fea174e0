"""JSON files of a model folder, which anyone may have written: read as one object, or refused.

Needs no torch. What no reader behind us would survive is refused here by file and key: a Git LFS
pointer, text that is too large or too deep, a key twice, a number that is not finite.
"""

import json
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from locscope.errors import UsageError
from locscope.runs.reading import Unreadable, once

LARGEST = 16 * 2**20
"""Bytes of a JSON file other than a tokenizer's: the largest known, an index, has 9 MB."""

DEPTH = 64
"""Objects within objects: far more than any configuration has, far fewer than end a stack."""

_POINTER = b"version https://git-lfs"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises UsageError, which names the file and where it can be told the key, for anything else.
    """
    refuse_pointer(path)
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UsageError(f"cannot read '{path}': {size / 2**20:.0f} MiB are no JSON of a model")
        value = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=once)
        if not isinstance(value, dict):
            raise UsageError(f"cannot read '{path}': it is not a JSON object")
        for key, leaf in leaves(value):
            if isinstance(leaf, float) and not isfinite(leaf):
                raise UsageError(f"cannot use '{path}': {shown(key)} is {leaf}, no finite number")
    except RecursionError:
        raise UsageError(f"cannot read '{path}': it is nested too deeply") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read '{path}': it is not UTF-8 text") from None
    except (OSError, ValueError, Unreadable) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
    return value


def refuse_pointer(path: Path) -> None:
    """Raises UsageError where a file is a Git LFS pointer, or cannot be opened."""
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_POINTER))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    if beginning == _POINTER:
        raise UsageError(
            f"'{path}' is a Git LFS pointer, not the file itself: run `git lfs pull` in its "
            "folder, or download it again"
        )


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested objects and lists that is neither, with its key, as `a.b.0`.

    Raises RecursionError beyond `DEPTH`.
    """
    # A stack of our own: a generator within a generator takes time by depth for every leaf.
    waiting = [(key, value, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        if depth > DEPTH:
            raise RecursionError
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            below = [(f"{key}.{k}" if key else str(k), item, depth + 1) for k, item in inner]
            waiting += reversed(below)
        else:
            yield key, value


def shown(value: Any, limit: int = 60) -> str:
    """A name or a value of a file as an error shows it: its repr, cut."""
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    if value is None:
        return "null"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of more than 20 digits"
    text = repr(value[:limit] if isinstance(value, str | list | tuple) else value)
    return text if len(text) <= limit else f"{text[:limit]}..."
