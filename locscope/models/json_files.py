"""JSON files of a model folder, which anyone may have written: read as one object, or refused.

Needs no torch. Beyond what is refused of any JSON (`runs/reading.py`) are a Git LFS pointer and a
byte order mark, which no reader behind us survives.
"""

from pathlib import Path
from typing import Any

from locscope.errors import UsageError
from locscope.runs.reading import read_json

LARGEST = 16 * 2**20
"""Bytes of a JSON file other than a tokenizer's: the largest known, an index, has 9 MB."""

_POINTER = b"version https://git-lfs"
_MARK = b"\xef\xbb\xbf"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises UsageError, which names the file and where it can be told the key, for anything else.
    """
    refuse_pointer(path)
    refuse_mark(path)
    value = read_json(path, "the model's", LARGEST)
    if not isinstance(value, dict):
        raise UsageError(f"cannot read the model's {path}: it is not a JSON object")
    return value


def refuse_pointer(path: Path) -> None:
    """Raises UsageError where a file is a Git LFS pointer, or cannot be opened."""
    if _beginning(path, len(_POINTER)) == _POINTER:
        raise UsageError(
            f"'{path}' is a Git LFS pointer, not the file itself: run `git lfs pull` in its "
            "folder, or download it again"
        )


def refuse_mark(path: Path) -> None:
    """Raises UsageError where a JSON file begins with a byte order mark, which libraries refuse."""
    if _beginning(path, len(_MARK)) == _MARK:
        raise UsageError(
            f"cannot read '{path}': it begins with a byte order mark, which transformers does not "
            "take: save it as UTF-8 without BOM"
        )


def _beginning(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
