"""Every reader on any input: what it reads back is what was written, what it refuses is one line.

    LOCSCOPE_FUZZ_SECONDS=600 python -m pytest tests/bad_input/test_properties.py -m slow

looks for that long at each reader; without the variable for a second.
"""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from report_factory import recommendation, run
from samples import scan_result, trial_record

from locscope.edits import read_edits
from locscope.errors import LocscopeError
from locscope.locations import PARTS, Location, Site
from locscope.records import Recipe, ScanResult, TrialRecord, dumps
from locscope.runs.edit_config import read_recommendation
from locscope.runs.info import MARKER, read_info, write_info
from locscope.runs.note import NAME, EditNote, read_note, write_note
from locscope.runs.reading import Unreadable, parse_json, parse_yaml
from locscope.runs.recommendation import recommendation_yaml
from locscope.runs.store import iterate, read_record, write_record
from locscope.settings import (
    EditSettings,
    ScanSettings,
    SearchSettings,
    read_settings_file,
    settings_of,
)

SECONDS = float(os.environ.get("LOCSCOPE_FUZZ_SECONDS", "1"))
"""How long each slow test looks for a failure."""
MOST = 1700
"""Characters of an error."""
PATIENCE = 10.0
"""Seconds for one input of a few kilobytes, on a machine with much else to do."""
# Examples of failures are written into this file, where everyone has them: no data base.
QUICK = settings(max_examples=40, deadline=None, database=None, derandomize=True)

TEXT = st.text(max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates().map(str)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)


def refused_or_read(read: Callable[[], Any]) -> Any:
    """What is read; None where it is refused in a line, as users are meant to see it."""
    began, line = time.monotonic(), "-"
    try:
        found = read()
    except LocscopeError as error:
        found, line = None, str(error)
    assert 0 < len(line) < MOST
    assert time.monotonic() - began < PATIENCE
    return found


@contextmanager
def file_of(content: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        yield path


PIECES = (
    *(b"", b"\0", b"\xff", b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"-", b"&a ", b"*a"),
    *(b"null", b"true", b"NaN", b"Infinity", b"1e999", b"-1", b"9" * 400, b"\\ud800", b"!!int "),
    *(b"2024-01-01", b"[" * 1200, b'{"a":' * 1200, b"\xef\xbb\xbf", b"\x1b[2J", b"<<: "),
)


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Sound files of which pieces are cut, doubled, moved or replaced, and any bytes at all."""
    pieces = st.sampled_from(PIECES)
    cuts = st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 0.1), pieces | st.binary(max_size=8)), max_size=4
    )

    def apply(seed: bytes, changes: list[tuple[float, float, bytes]]) -> bytes:
        for place, length, piece in changes:
            start = int(place * len(seed))
            seed = seed[:start] + piece + seed[start + int(length * len(seed)) :]
        return seed

    return st.builds(apply, st.sampled_from(seeds), cuts) | st.binary(max_size=200)


# --- what is written comes back -----------------------------------------------------------------

SITES = st.builds(
    lambda first, more, part, head: Site(
        first, first + more, part, head if part == "attn" else None
    ),
    st.integers(0, 9000),
    st.integers(0, 999),
    st.sampled_from(PARTS),
    st.none() | st.integers(0, 9999),
)
LOCATIONS = st.lists(SITES, min_size=1, max_size=6).map(lambda sites: Location(tuple(sites)))


@QUICK
@given(LOCATIONS)
def test_a_location_is_read_as_it_is_written(location: Location) -> None:
    assert Location.parse(str(location)) == location
    assert Location.parse(str(location.tidy)) == location.tidy
    assert location.tidy.tidy == location.tidy


def check_location(text: str) -> None:
    found = refused_or_read(lambda: Location.parse(text))
    if found is not None:
        assert Location.parse(str(found)) == found
        assert len(found.cells) <= 10_000 * len(found.sites)


LOCATION_TEXTS = TEXT | st.lists(
    st.sampled_from([*"L0123456789-.+h ", *PARTS, "L1.", "attn.h", "L" + "9" * 5000, "٣", "\n"]),
    max_size=12,
).map("".join)


@QUICK
@given(LOCATION_TEXTS)
@example("L" + "9" * 5000 + ".mlp")
@example("L0-99999999999.mlp")
@example("L٣.mlp")
@example("+" * 100_000)
@example("L1.mlp\n")
def test_any_text_is_a_location_or_refused(text: str) -> None:
    check_location(text)


NUMBER = st.floats() | st.none().map(lambda _: math.nan)


@QUICK
@given(NUMBER, NUMBER, NUMBER, TEXT, st.lists(TEXT, max_size=3), st.integers(0, 2**63 - 1))
def test_a_record_comes_back_from_disk(score, lr, loss, text, names, seed) -> None:
    record = trial_record(seed=seed)
    made = replace(
        record,
        trial=replace(record.trial, recipe=Recipe(lr, 8), edits=tuple(names)),
        score=score,
        flops=loss,
        status=text,
        violated=tuple(names),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_record(folder, "trial", made.trial.id, made)
        back = read_record(folder, "trial", made.trial.id, TrialRecord)
        assert dumps(back) == dumps(made)
        assert back is not None
        assert repr(back.score) == repr(score)


@QUICK
@given(VALUES)
def test_what_pyyaml_and_json_write_is_read_as_it_was(value: Any) -> None:
    assert repr(parse_yaml(yaml.safe_dump(value, sort_keys=False))) == repr(value)
    text = json.dumps(value)
    if "NaN" not in text and "Infinity" not in text:
        assert repr(parse_json(text)) == repr(value)


@QUICK
@given(
    st.floats(1e-12, 1000),
    st.integers(1, 10**6),
    st.integers(0, 1000),
    LOCATIONS,
    st.floats(0, 1e6),
)
def test_a_recommendation_is_read_as_it_was_written(lr, batch, prefixes, location, stop) -> None:
    recipe = Recipe(lr, batch, prefixes=prefixes, stop_below=stop)
    rec = recommendation(deployment=None)
    best = replace(rec.best, location=location, recipe=recipe)
    rec = replace(rec, contenders=(best, *rec.contenders[1:]))
    text = recommendation_yaml(rec, model_path="m", data_path="d", patterns={})
    with file_of(text.encode(), "r.yaml") as path:
        read = read_recommendation(path)
    assert (read.recipe, read.location) == (recipe, location)


@QUICK
@given(st.dictionaries(st.sampled_from(sorted(SearchSettings.model_fields)), VALUES, max_size=3))
@example({"weights": {"locality": 1e308}})
@example({"limit": True})
@example({"budget": True})
@example({"model": "a\0b"})
@example({"repetitions": 100_000_000})
@example({"noise": 10**400})
def test_settings_are_read_or_refused(values: dict[str, Any]) -> None:
    found = refused_or_read(lambda: settings_of(SearchSettings, values))
    if found is not None:
        again = settings_of(SearchSettings, found.model_dump(exclude_defaults=True))
        assert again == found


# --- any bytes are read or refused --------------------------------------------------------------

SETTINGS = [
    b"model: demo\nedits: demo\nseed: 3\nbounds: ['kl<=0.1']\nweights: {locality: 2}\nbudget: 5m\n",
    b"{limit: 5, parts: [mlp, attn], noise: 1.5, quarters: no, first-step: 1e-3}",
]


def read_settings(content: bytes) -> None:
    with file_of(content, "s.yaml") as path:
        for kind in (SearchSettings, EditSettings, ScanSettings):
            refused_or_read(lambda kind=kind: settings_of(kind, read_settings_file(path)))


RECOMMENDATION = recommendation_yaml(
    recommendation(weights={"locality": 1.0}),
    model_path="m",
    data_path="d",
    patterns={},
    data={"edits": "demo", "limit": 5},
).encode()


def read_config(content: bytes) -> None:
    with file_of(content, "r.yaml") as path:
        found = refused_or_read(lambda: read_recommendation(path))
        if found is not None:
            assert 0 < found.recipe.lr <= 1000


def written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return (Path(folder) / name).read_bytes()


RUN = written(lambda folder: write_info(folder, run()), MARKER)


def read_run(content: bytes) -> None:
    with file_of(content, MARKER) as path:
        refused_or_read(lambda: read_info(path.parent))


TRIAL = trial_record()
RECORD = written(
    lambda folder: write_record(folder, "trial", "t", TRIAL),
    os.path.join("records", "trial-t.json"),
)
SCAN = written(
    lambda folder: write_record(folder, "scan", "gradient", scan_result()),
    os.path.join("records", "scan-gradient.json"),
)


def read_records(content: bytes) -> None:
    for kind, id, type in (("trial", "t", TrialRecord), ("scan", "gradient", ScanResult)):
        damaged: list[str] = []
        with file_of(content, os.path.join("records", f"{kind}-{id}.json")) as path:
            read = partial(iterate, path.parents[1], kind, type, damaged=damaged)
            found = refused_or_read(lambda read=read: list(read()))
        # Never dropped in silence.
        assert found is None or len(found) + len(damaged) == 1


NOTE = written(
    lambda folder: write_note(folder, EditNote(1, "b", "h", "0", "demo", TRIAL, {"limit": 5})), NAME
)


def read_model_note(content: bytes) -> None:
    with file_of(content, NAME) as path:
        refused_or_read(lambda: read_note(path.parent))


EDITS = [
    b'[{"prompt": "a is", "target": "b", "subject": "a", "rephrases": ["a was"], "id": 1}]',
    b'[{"prompt": "{} is", "target_new": {"str": "b"}, "subject": "a", "case_id": 3}]',
    b'[{"src": "a", "alt": "b", "subject": "a", "loc": "nq c", "loc_ans": "d", "rephrase": "e"}]',
    b'[{"prompt": "a", "target_new": "b", "portability": {"x": [{"prompt": "p", '
    b'"ground_truth": [["c"]]}]}, "locality": {"y": [{"prompt": "q", "ground_truth": ["d"]}]}}]',
]
LINES = [b'{"prompt": "a is", "target": "b"}\n{"prompt": "c is", "target": "d"}\n']
CELLS = [b'prompt,target,subject\n"a, is",b,a\nc,d,\n']


def edits_reader(name: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        with file_of(content, name) as path:
            refused_or_read(lambda: read_edits(str(path)))

    return read


READERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "settings": (read_settings, SETTINGS),
    "recommendation": (read_config, [RECOMMENDATION]),
    "run.json": (read_run, [RUN]),
    "records": (read_records, [RECORD, SCAN]),
    "note": (read_model_note, [NOTE]),
    "json edits": (edits_reader("e.json"), EDITS),
    "jsonl edits": (edits_reader("e.jsonl"), LINES),
    "csv edits": (edits_reader("e.csv"), CELLS),
}
"""By name, a reader and sound files to begin with."""


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    read, seeds = READERS[name]
    given(mutated(seeds))(QUICK(read))()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("name", [*READERS, "location", "yaml", "json"])
def test_fuzz(name: str) -> None:
    ends, seen = time.monotonic() + SECONDS, 0
    more: dict[str, tuple[Any, Callable[[Any], None]]] = {
        "location": (LOCATION_TEXTS, check_location),
        "yaml": (mutated([*SETTINGS, RECOMMENDATION]), lambda content: parsed(parse_yaml, content)),
        "json": (mutated([*EDITS, RUN]), lambda content: parsed(parse_json, content)),
    }
    if name in READERS:
        more[name] = (mutated(READERS[name][1]), READERS[name][0])
    inputs, read = more[name]
    looks = settings(
        max_examples=500,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    while time.monotonic() < ends:

        def once(content: Any) -> None:
            nonlocal seen
            seen += 1
            if time.monotonic() < ends:
                read(content)

        given(inputs)(looks(once))()
    assert seen > 0
    sys.stdout.write(f"{name}: {seen} inputs in {SECONDS:.0f} s\n")


def parsed(parse: Callable[[str], Any], content: bytes) -> None:
    with suppress(Unreadable):
        parse(content.decode("utf-8", "replace"))
