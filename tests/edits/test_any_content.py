"""Whatever is in a file: edits that can be written and read back, or an error of one line."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formats import MINIMAL
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from locscope.edits import read_edits
from locscope.edits.readers.own import row_of
from locscope.errors import UsageError

ODD: list[Any] = [
    *(None, "", 0, 1.5, True, [], {}, [[]], [None], ["a"], {"a": 1}, "text", float("nan")),
    *([{"prompt": "x"}], {"str": "y"}, {"prompt": ["a", "b"], "ground_truth": ["a"]}),
    *("{} {}", "{}", "\ud800", [1, 2], {"0": {"a": 1}}, [{"role": "user"}], -1, 10**30),
]
SETS: list[Any] = [
    *MINIMAL.values(),
    {"prompts": ["a", "b"], "target_new": ["x", "y"], "locality_inputs": {"n": {"prompt": ["a"]}}},
    {"success": [{"question": "q", "target_new": "t"}], "locality": [{"question": "q"}]},
    {
        "requested_rewrite": [{"prompt": "{} is", "subject": "P", "target_new": {"str": "new"}}],
        "questions": ["Q?"],
        "new_answer": "a",
    },
]


def usable(path: Path) -> bool:
    """Whether the file is read; then its edits are read back equal from our format."""
    said = ""
    try:
        found = read_edits(str(path))
    except UsageError as error:
        said = str(error)
    if said:
        assert "\n" not in said
        return False
    back = path.with_name("back.jsonl")
    back.write_text("".join(f"{json.dumps(row_of(edit))}\n" for edit in found.edits))
    assert read_edits(str(back)).edits == found.edits
    return True


def places(value: Any, before: tuple = ()) -> Iterator[tuple]:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield (*before, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*before, key))


def spoilt(rng: random.Random, row: Any) -> Any:
    """A copy with another value somewhere, or without one."""
    row = copy.deepcopy(row)
    where = rng.choice(list(places(row)))
    inside = row
    for key in where[:-1]:
        inside = inside[key]
    if rng.random() < 0.2:
        del inside[where[-1]]
    else:
        inside[where[-1]] = copy.deepcopy(rng.choice(ODD))
    return row


@pytest.mark.parametrize("seed", range(4))
def test_spoilt_rows_of_every_layout(tmp_path: Path, seed: int) -> None:
    rng, read = random.Random(seed), 0
    path = tmp_path / "edits.json"
    for _ in range(100):
        row = rng.choice(SETS)
        path.write_text(json.dumps(rng.choice([[row, spoilt(rng, row)], spoilt(rng, row)])))
        read += usable(path)
    assert 20 < read < 90


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
@example(b"prompt,target\x00\nx,y")
@example(b'prompt,target\n"x')
@example(b"prompt,target\r" + b"x" * 200_000 + b",y")
@example(b"\xff\xfe\x00\xd8")
@example(b'{"prompt": 1e999, "target": NaN}')
@example(b"[" * 100_000)
@example(b'[{"prompt": ' + b"9" * 5000 + b"}]")
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edits.csv"
    path.write_bytes(content)
    usable(path)
