"""Where edits come from, as rows: a file of any kind, or a data set of the Hugging Face hub."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from locscope.edits.kinds import (
    decoded,
    is_json,
    json_lines,
    parquet_rows,
    table_rows,
    text_of,
    unpacked,
    without_nan,
)
from locscope.edits.rows import Row, kind_of
from locscope.edits.shapes import rows_in
from locscope.errors import UsageError
from locscope.runs.reading import Unreadable, read_bytes, reason_of

Found = tuple[tuple[Row, ...], tuple[str, ...]]
"""Rows, and notes on what of the source is not in them."""
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.\-\[\]%:+]+)?")
_SUFFIXES = re.compile(r"\.(json|jsonl|ndjson|csv|tsv|txt|parquet|gz|bz2|xz|xlsx|pkl|zip)$", re.I)
HINT = "write one list of objects, or one object per line"


def on_hub(source: str) -> bool:
    """Whether the source is a data set's name on the hub: no such file, and written like one."""
    named = _HUB.fullmatch(source) is not None and not _SUFFIXES.search(source)
    return named and not os.path.exists(source)


def rows_of(source: str) -> Found:
    """All rows of a file or of a data set of the hub (`ORG/NAME`, `ORG/NAME:SPLIT`), at least one.

    Raises UsageError, which names the source and the line, where it cannot be read.
    """
    if on_hub(source):
        rows, notes = tuple(_hub_rows(source)), ()
    else:
        rows, notes = _file_rows(Path(source).expanduser())
    if not rows:
        raise UsageError(f"{source} has no rows: it must hold at least one edit")
    return rows, notes


def _file_rows(path: Path) -> Found:
    name, suffix = str(path), _suffix(path)
    data = unpacked(name, _bytes(path))
    table = parquet_rows(name, data)
    if table is not None:
        return tuple(_numbered(table, name, "row")), ()
    text = text_of(name, data)
    if not text.strip():
        raise UsageError(f"{path} is empty: it must hold at least one edit")
    if not is_json(suffix, text):
        rows = table_rows(suffix, name, text)
        return tuple(Row(n, f"{name}, line {n}", cells, from_csv=True) for n, cells in rows), ()
    lines = json_lines(suffix, name, text)
    if lines is not None:
        return tuple(_row(n, f"{name}, line {n}", value) for n, value in lines), ()
    values, notes = rows_in(decoded(text, name, HINT), name)
    return tuple(_numbered(values, name, "row")), notes


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a directory: give the file with the edits")
        if not path.exists():
            raise UsageError(
                f"no edits file {path}: give a file, or 'demo' or 'facts' for bundled ones"
            )
        return read_bytes(path)
    except (OSError, Unreadable) as error:
        raise UsageError(f"cannot read {path}: {reason_of(error)}") from error


def _suffix(path: Path) -> str:
    """The suffix that says what the content is: `.json` of `edits.json.gz`."""
    endings = [ending.lower() for ending in path.suffixes]
    return next((e for e in reversed(endings) if e not in (".gz", ".bz2", ".xz")), "")


def _numbered(values: Iterable[Any], name: str, what: str) -> Iterator[Row]:
    for number, value in enumerate(values, start=1):
        yield _row(number, f"{name}, {what} {number}", value)


def _row(number: int, where: str, value: Any) -> Row:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: an edit is an object with fields, not {kind_of(value)}")
    return Row(number, where, value)


def _hub_rows(source: str) -> Iterator[Row]:
    """The rows of a data set of the hub; a UsageError says what cannot be had, and why."""
    name, _, split = source.partition(":")
    try:
        from datasets import Dataset, load_dataset
    except ImportError as error:
        raise UsageError(
            f"no file {source}, and to read a data set of the Hugging Face hub the package "
            "datasets is needed: pip install 'locscope[hub]'"
        ) from error
    try:
        found: Any = load_dataset(name, split=split or None)
        splits = [] if isinstance(found, Dataset) else list(found)
        if len(splits) < 2:
            rows = [dict(row) for row in (found[splits[0]] if splits else found)]
            return _numbered(map(without_nan, rows), source, "row")
    # Of the hub, the network, the files in it: all sorts of errors, whose first line says it.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"no file {source}, and no data set of the Hugging Face hub can be read for it "
            f"({reason}): check the name and the connection, or download the file"
        ) from error
    raise UsageError(f"{name} has the splits {', '.join(splits)}: write {name}:{splits[0]}")
