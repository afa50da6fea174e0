"""What kind of file it is, told by its content, and its content as JSON values or table rows.

Parquet, gzip, bzip2 and xz are told by their first bytes; text is UTF-8, or UTF-16 and UTF-32 with
a byte order mark. Text that begins with a bracket is JSON (one value, or one object a line); other
text is a table, whose header tells what separates its cells. A suffix decides only where the
content does not.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any

from locscope.errors import UsageError
from locscope.runs.reading import MOST_TEXT, Unreadable, once, read_within

MOST_UNPACKED = MOST_TEXT
"""Bytes that a compressed file may unpack to."""
JSON_SUFFIXES, LINES = (".json", ".jsonl", ".ndjson"), (".jsonl", ".ndjson")
_PACKED: dict[bytes, Callable[[io.BytesIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: save the sheet as CSV, or unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it (zstd -d)",
    b"SQLite format 3": "an SQLite database: export the table as CSV or JSON",
    b"ARROW1": "an Arrow file: write it as Parquet or JSON",
    b"\xff\xff\xff\xff": "an Arrow stream: write it as Parquet or JSON",
    b"\x89HDF": "an HDF5 file: write it as Parquet or JSON",
    b"%PDF": "a PDF file: give the data itself",
    b"\x80\x02": "a pickle, which can run code and is not read: write it as JSON",
    b"\x80\x03": "a pickle, which can run code and is not read: write it as JSON",
    b"\x80\x04": "a pickle, which can run code and is not read: write it as JSON",
    b"\x80\x05": "a pickle, which can run code and is not read: write it as JSON",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself (git lfs pull)",
    b"<!DOCTYPE": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}
"""First bytes of files that are not read, what they are, and what to do."""
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order marks; the longer ones first, as one begins with another."""

Table = list[tuple[int, dict[str, str]]]
"""Rows of a table, each with the line that it begins on."""


def unpacked(name: str, data: bytes) -> bytes:
    """The bytes of a file, unpacked where it is compressed.

    Raises UsageError where that fails, and for other kinds of files that are known but not read.
    """
    for magic, opened in _PACKED.items():
        if data.startswith(magic):
            try:
                content = read_within(opened(io.BytesIO(data)), MOST_UNPACKED)
            except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
                raise UsageError(f"cannot unpack {name}: it is damaged ({error})") from error
            if len(content) > MOST_UNPACKED:
                raise UsageError(f"{name} unpacks to more than {MOST_UNPACKED >> 20} MiB: split it")
            # Again: what was packed twice is unpacked twice.
            return unpacked(name, content)
    for magic, what in _OTHERS.items():
        if data.startswith(magic):
            raise UsageError(f"{name} is {what}")
    return data


def parquet_rows(name: str, data: bytes) -> list[dict[str, Any]] | None:
    """The rows of a Parquet file; None for any other. NaN and infinity are null.

    Raises UsageError where it is damaged.
    """
    if not data.startswith(b"PAR1"):
        return None
    import pyarrow
    from pyarrow import parquet

    try:
        # Read whole, as every row is checked, also those that a limit leaves out.
        rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"cannot read {name}: damaged Parquet ({_first_line(error)})") from error
    return [without_nan(row) for row in rows]


def text_of(name: str, data: bytes) -> str:
    """The text of a file; a UsageError says which byte is none."""
    encoding = next((e for mark, e in _MARKS.items() if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        what = encoding.removesuffix("-sig").upper()
        raise UsageError(
            f"cannot read {name}: byte {error.start} is not {what} text; save it as UTF-8"
        ) from error


def is_json(suffix: str, text: str) -> bool:
    """Whether a text is meant as JSON: its first character says so, else its suffix."""
    return text.lstrip()[:1] in ("[", "{") or suffix in JSON_SUFFIXES


def json_lines(suffix: str, name: str, text: str) -> list[tuple[int, Any]] | None:
    """The values of a file with one object a line, with their lines; None where it is one value.

    Raises UsageError, which names the line, where one is not JSON.
    """
    # Not splitlines: it also breaks at separators (U+2028) that JSON allows inside strings.
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if text.lstrip().startswith("[") or not (suffix in LINES or _objects_a_line(lines)):
        return None
    hint = "write one object per line"
    return [(number, decoded(line, f"{name}, line {number}", hint)) for number, line in lines]


def decoded(text: str, where: str, hint: str) -> Any:
    """A JSON value; NaN and infinity, which Python writes for what is missing, are null.

    Raises UsageError, which says where the text is wrong.
    """
    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=lambda _: None)
    except Unreadable as error:
        raise UsageError(f"{where}: {error}: leave one") from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{where}: not JSON ({error.msg} at {position}); {hint}") from error
    # Lists nested too deeply, and integers of more digits than Python converts.
    except (RecursionError, ValueError) as error:
        raise UsageError(f"{where}: not JSON that can be read; {hint}") from error


def _objects_a_line(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether the first of several lines is an object of its own."""
    if len(lines) < 2:
        return False
    try:
        return isinstance(json.loads(lines[0][1]), dict)
    except (ValueError, RecursionError):
        return False


def table_rows(suffix: str, name: str, text: str) -> Table:
    """The rows of a table with a header; cells are apart by commas, semicolons or tabs.

    The index that pandas writes, a first column without a name, is left out. Raises UsageError,
    which names the line, where the header or a row cannot be used.
    """
    # The header decides: cells may hold any of them.
    separator = _separator(suffix, text)
    records = _records(name, text, separator)
    _, first = next(records, (1, []))
    header = [cell.strip() for cell in first]
    index = header[:1] == [""] and len(header) > 1
    names = header[1:] if index else header
    if not names or len(set(names)) < len(names) or "" in names:
        raise UsageError(f"{name}, line 1: the header must name every column, each once")
    rows = []
    for number, cells in records:
        if len(cells) > len(header):
            between = {",": "commas", ";": "semicolons", "\t": "tabs"}[separator]
            raise UsageError(
                f"{name}, line {number}: {len(cells)} cells under {len(header)} columns; quote "
                f"cells with {between}"
            )
        rows.append((number, dict(zip(names, cells[1:] if index else cells, strict=False))))
    return rows


def _separator(suffix: str, text: str) -> str:
    """What is most often between the names of the header, outside of quotes."""
    # Every other piece between quotes lies outside of them.
    header = "".join(text.lstrip("\r\n").split("\n", 1)[0].split('"')[::2])
    likely = ("\t", ",", ";") if suffix == ".tsv" else (",", ";", "\t")
    return max(likely, key=header.count)


def _records(name: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line each begins on; a quoted cell may span lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    last = 0
    try:
        for cells in reader:
            begins, last = last + 1, reader.line_num
            if cells:
                yield begins, cells
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: not CSV ({error})") from error


def without_nan(value: Any) -> Any:
    """The value with null for NaN and infinity, at any depth."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
