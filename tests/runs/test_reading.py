"""Files of strangers are read within bounds: of memory, of kind and of what their text becomes."""

import io
import math
import os
import tracemalloc
from pathlib import Path

import pytest

from locscope.errors import shown
from locscope.runs.reading import (
    DEEPEST_JSON,
    MOST_TEXT,
    Unreadable,
    leaves,
    parse_json,
    read_bytes,
    read_within,
)


def test_a_small_file_takes_little_memory_whatever_is_allowed(tmp_path: Path) -> None:
    """To read up to 256 MiB at once takes them, of a process that may have less."""
    (tmp_path / "e.json").write_bytes(b"[]" * 1000)
    tracemalloc.start()
    try:
        assert len(read_bytes(tmp_path / "e.json", MOST_TEXT)) == 2000
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 << 20


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 5000])
def test_no_more_is_read_than_one_byte_beyond_the_bound(size: int) -> None:
    assert len(read_within(io.BytesIO(bytes(size)), 10)) == min(size, 11)


def test_a_file_at_the_bound_is_read_and_one_beyond_is_not(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(10))
    assert read_bytes(tmp_path / "x", 10) == bytes(10)
    with pytest.raises(Unreadable, match="too large"):
        read_bytes(tmp_path / "x", 9)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="no regular file"):
        read_bytes(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": [1, {"b": NaN}]}', "'a.1.b' is nan"),
        ("[-Infinity]", "'0' is -inf"),
        ('{"a": 1e999}', "'a' is inf"),
        ("NaN", "'' is nan"),
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ("[" * (DEEPEST_JSON + 2) + "]" * (DEEPEST_JSON + 2), "nested too deeply"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        ("9" * 5000, "too many digits"),
        ("{", "line 1, column 2"),
    ],
)
def test_json_says_what_is_wrong_and_where(text: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parse_json(text)


def test_all_values_are_found_with_their_keys() -> None:
    value = {"a": [1, {"b": None}], "c": {}, "d": "x"}
    assert list(leaves(value)) == [("a.0", 1), ("a.1.b", None), ("d", "x")]


def test_a_value_is_quoted_as_files_write_it_and_shortened() -> None:
    assert (shown(None), shown(True), shown("a"), shown(math.nan)) == ("null", "True", "'a'", "nan")
    assert len(shown("x" * 5000)) <= 82
    assert len(shown(10**4000)) <= 90
    assert len(shown({str(n): list(range(99)) for n in range(99)})) <= 200
