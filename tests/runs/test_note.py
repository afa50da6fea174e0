"""The note beside an edited model: what comes back, and what of others' notes is refused."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from samples import trial_record

from locscope.errors import UsageError
from locscope.records import dumps
from locscope.runs.note import NAME, EditNote, read_note, write_note

NOTE = EditNote(1, "demo", "hash", "0.1.0", "demo", trial_record(), {"limit": 5, "seed": 0})


def test_a_note_comes_back(tmp_path: Path) -> None:
    assert read_note(tmp_path) is None
    write_note(tmp_path, NOTE)
    assert dumps(read_note(tmp_path)) == dumps(NOTE)


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(dumps(NOTE)) | changes).encode()


def record(**changes: Any) -> dict[str, Any]:
    return json.loads(dumps(NOTE))["record"] | changes


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "truncated": (changed()[:200], "not JSON"),
    "a list": (b"[]", "no schema number"),
    "not UTF-8": (changed() + b"\xff", "not UTF-8"),
    "NUL": (changed() + b"\0", "NUL"),
    "NaN": (changed().replace(b"null", b"NaN", 1), "is nan, no finite number"),
    "a key twice": (changed().replace(b"{", b'{"base": "x",', 1), "'base' is there twice"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "long number": (changed().replace(b"0.75", b"9" * 5000), "too many digits"),
    "no schema": (changed(schema_number=None), "no schema number"),
    "schema true": (changed(schema_number=True), "no schema number"),
    "newer": (changed(schema_number=2), "newer locscope (schema 2"),
    "no base": (changed(base=""), "'base' is ''"),
    "NUL in base": (changed(base="a\0"), "'base' is 'a\\x00'"),
    "long base": (changed(base="x" * 100_000), "'base' is 'xxx"),
    "no edits": (changed(edits=""), "'edits' is ''"),
    "base a number": (changed(base=1), "field 'base'"),
    "data a list": (changed(data=[1]), "field 'data'"),
    "data with a stranger": (changed(data={"device": "cpu"}), "'device'"),
    "data of lists": (changed(data={"limit": [1]}), "field 'data"),
    "no record": (changed(record=None), "field 'record"),
    "no location": (
        changed(record=record(trial=record()["trial"] | {"location": "nowhere"})),
        "'record.trial.location'",
    ),
}


@pytest.mark.parametrize("how", BAD)
def test_a_note_that_cannot_be_is_refused_in_a_line(tmp_path: Path, how: str) -> None:
    content, words = BAD[how]
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_note(tmp_path)
    line = str(caught.value)
    assert words in line
    assert str(tmp_path / NAME) in line
    assert "\n" not in line
    assert len(line) < 600


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        folder = tmp_path / str(len(os.listdir(tmp_path)))
        folder.mkdir()
        make(folder / NAME)
        with pytest.raises(UsageError, match="cannot read the note of an edited model"):
            read_note(folder)
    assert time.monotonic() - began < 5
