"""Files are told by their content: whatever a program wrote, the same edits are read, or it is
said what the file is. No test needs the network."""

import bz2
import gzip
import io
import json
import lzma
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from locscope.edits import kinds, read_edits
from locscope.errors import UsageError
from locscope.records import Edit

ROWS = [
    {"prompt": "Zürich, the city, is in", "target": "Uri", "subject": "Zürich"},
    {"prompt": "Bern; the town\tis in", "target": "Ticino", "subject": "Bern"},
]
EDITS = tuple(
    Edit(f"own-{i}", row["prompt"], row["target"], row["subject"]) for i, row in enumerate(ROWS, 1)
)


ENDS = ("", "\u200b", "\u202e", " é", "\n")
"""Of targets: a space without width and a mark that turns text around are not seen."""


def packed(data: bytes) -> bytes:
    # Without the time, which would name a test otherwise in every process.
    return gzip.compress(data, mtime=0)


def as_json(rows: Any = ROWS) -> str:
    return json.dumps(rows, ensure_ascii=False)


def lines() -> str:
    return "\n".join(as_json(row) for row in ROWS) + "\n"


def table(separator: str, *, index: bool = False) -> str:
    header = separator.join(["", *ROWS[0]] if index else ROWS[0])
    cells = [[f'"{cell}"' for cell in row.values()] for row in ROWS]
    rows = [separator.join([str(i), *row] if index else row) for i, row in enumerate(cells)]
    return "\n".join([header, *rows]) + "\n"


def as_parquet() -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), out)
    return out.getvalue()


FILES: dict[str, bytes] = {
    "list.json": as_json().encode(),
    "list_in.jsonl": as_json().encode(),
    "lines.jsonl": lines().encode(),
    "lines.json": lines().encode(),
    "lines": lines().encode(),
    "wrapped.json": as_json({"data": ROWS}).encode(),
    "mark.json": b"\xef\xbb\xbf" + as_json().encode(),
    "utf16.json": as_json().encode("utf-16"),
    "utf32.json": as_json().encode("utf-32"),
    "list.json.gz": packed(as_json().encode()),
    "lines.jsonl.bz2": bz2.compress(lines().encode()),
    "table.csv.xz": lzma.compress(table(",").encode()),
    "gzip_without_saying.json": packed(lines().encode()),
    "commas.csv": table(",").encode(),
    "semicolons.csv": table(";").encode(),
    "tabs.tsv": table("\t").encode(),
    "tabs.csv": table("\t").encode("utf-16"),
    "table.txt": table(";").encode(),
    "index.csv": table(",", index=True).encode(),
    "edits.parquet": as_parquet(),
    "parquet_without_saying": as_parquet(),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_edits_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    found = read_edits(str(path))
    # A table and JSON Lines count lines, so ids that are made of numbers may differ.
    assert [(e.prompt, e.target, e.subject) for e in found.edits] == [
        (e.prompt, e.target, e.subject) for e in EDITS
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04rest", "is a zip archive or an Excel workbook: save the sheet as CSV"),
        (b"\x28\xb5\x2f\xfdrest", "compressed by zstd"),
        (b"\x80\x04rest", "is a pickle, which can run code"),
        (b"SQLite format 3\x00", "is an SQLite database"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"PAR1rest", "damaged Parquet"),
        (packed(as_json().encode())[:-9], "cannot unpack .*: it is damaged"),
        (packed(b"PK\x03\x04rest"), "is a zip archive"),
        ("prompt,target\nÄ,b".encode("latin-1"), "byte 14 is not UTF-8 text; save it as UTF-8"),
        (as_json().encode("utf-16")[:-1], "is not UTF-16 text"),
        (b"prompt;target\nx;y;z", "line 2: 3 cells under 2 columns; quote cells with semicolons"),
        (b"prompt,,target\nx,y,z", "the header must name every column"),
        (b",,prompt\nx,y,z", "the header must name every column"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "edits.json" if data[:1] != b"p" and data[:1] != b"," else tmp_path / "e.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=words) as caught:
        read_edits(str(path))
    assert "\n" not in str(caught.value)


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edits.json.gz"
    path.write_bytes(packed(b" " * 5000))
    monkeypatch.setattr(kinds, "MOST_UNPACKED", 1000)
    with pytest.raises(UsageError, match="unpacks to more than"):
        read_edits(str(path))


def test_what_is_not_seen_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "edits.json"
    rows = [
        {"prompt": f"The work {n} is by", "target": f"Ibsen{end}"} for n, end in enumerate(ENDS)
    ]
    path.write_text(json.dumps(rows))
    assert "edits with characters that are not seen: 2" in read_edits(str(path)).notes


def test_nan_is_what_is_missing(tmp_path: Path) -> None:
    row = {"prompt": "P", "target_new": "x", "ground_truth": "y", "locality": {"a": float("nan")}}
    path = tmp_path / "edits.json"
    path.write_text(json.dumps([row, {**row, "rephrase_prompt": float("inf")}]))
    found = read_edits(str(path))
    assert [edit.rephrases for edit in found.edits] == [(), ()]
    table = pyarrow.Table.from_pylist([{"prompt": "P", "target": "x", "score": float("nan")}])
    parquet.write_table(table, tmp_path / "edits.parquet")
    assert not any("score" in note for note in read_edits(str(tmp_path / "edits.parquet")).notes)


class FakeSplit(list):
    """What the package calls Dataset: a sequence of rows."""


def fake_datasets(monkeypatch: pytest.MonkeyPatch, found: Any) -> list[tuple[str, Any]]:
    asked: list[tuple[str, Any]] = []

    def load_dataset(name: str, split: str | None = None) -> Any:
        asked.append((name, split))
        if isinstance(found, Exception):
            raise found
        return found if split is None else found[split]

    module = ModuleType("datasets")
    module.Dataset, module.load_dataset = FakeSplit, load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return asked


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = FakeSplit([{"update": "Q?", "ans": "x", "loc": None, "tag": float("nan")}])
    asked = fake_datasets(monkeypatch, {"train": rows})
    for source in ("towns/edits:train", "towns/edits"):
        found = read_edits(source)
        assert (found.format, found.edits[0].target, found.source) == (
            "wikibigedit-hub",
            "x",
            source,
        )
    assert asked == [("towns/edits", "train"), ("towns/edits", None)]
    assert read_edits("towns/edits:train").name == "towns-edits-train"
    rows[0] = {"x": "y"}
    with pytest.raises(UsageError, match="towns/edits:train, row 1: no known layout"):
        read_edits("towns/edits:train")


@pytest.mark.parametrize(
    ("source", "found", "words"),
    [
        ("a/b", {"train": FakeSplit(), "test": FakeSplit()}, "splits train, test: write .*:train"),
        ("a/b", {"train": FakeSplit()}, "has no rows"),
        ("a/b:c", ConnectionError("no\nroute"), r"no file a/b:c, and .* \(no\): check the name"),
        ("a/b.json", ConnectionError("asked"), "no edits file a/b.json"),
        ("a/b/c", ConnectionError("asked"), "no edits file a/b/c"),
    ],
)
def test_what_the_hub_does_not_have(
    monkeypatch: pytest.MonkeyPatch, source: str, found: Any, words: str
) -> None:
    fake_datasets(monkeypatch, found)
    with pytest.raises(UsageError, match=words) as caught:
        read_edits(source)
    assert "\n" not in str(caught.value)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'locscope\[hub\]'"):
        read_edits("towns/edits")
