"""Trackers hear of every trial and cannot stop a search."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import final

import pytest

from locscope.errors import UsageError
from locscope.integrations import trackers
from locscope.integrations.trackers import Log, open_tracker, row_of
from locscope.locations import Location
from locscope.progress import Progress
from locscope.records import Measure, Recipe, Trial, TrialRecord


def record(location: str, score: float) -> TrialRecord:
    trial = Trial(Location.parse(location), Recipe(1e-4, 8), ("a", "b"), "S", "rung-1", 3, "m", "e")
    measures = (Measure("reliability", 0.5, 2, "x"), Measure("locality", nan, 0, "not measured"))
    costs = {"change_norm": 0.1, "decoded": 0, "seconds": 1.5, "flops": nan}
    return TrialRecord(trial, "done", score, "harmonic", measures, (), (), ("w",), 64, **costs)


@final
class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, stage: str, total: int, share: float = 0.0) -> None: ...

    def advance(self, note: str = "") -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


def use(monkeypatch: pytest.MonkeyPatch, log: Log) -> list[tuple]:
    """Puts a tracker of the test into the table; the runs that it opens."""
    opened: list[tuple] = []

    @contextmanager
    def fake(*run: object) -> Iterator[Log]:
        opened.append(run)
        yield log

    monkeypatch.setitem(trackers.TRACKERS, "fake", fake)
    return opened


def test_a_row_says_where_how_and_what_was_measured() -> None:
    row = row_of(record("L2.mlp.down", 0.75))
    wanted = {"location": "L2.mlp.down", "lr": 1e-4, "score": 0.75, "rung": "rung-1", "seed": 3}
    assert wanted.items() <= row.items()
    assert row["reliability"] == 0.5
    assert "locality" not in row
    assert "score" not in row_of(record("L2.mlp.down", nan))


def test_every_trial_is_told_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Mapping] = []
    opened = use(monkeypatch, rows.append)
    with open_tracker("fake", "run", {"seed": "3"}) as tell:
        for i in range(3):
            tell(record(f"L{i}.mlp", 0.5))
    assert [row["location"] for row in rows] == ["L0.mlp", "L1.mlp", "L2.mlp"]
    assert opened == [("run", {"seed": "3"}, None)]


def test_a_tracker_that_fails_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping] = []

    def broken(row: Mapping) -> None:
        asked.append(row)
        raise ConnectionError("no network\nand more")

    use(monkeypatch, broken)
    heard = Heard()
    with open_tracker("fake", "run", {}, progress=heard) as tell:
        tell(record("L0.mlp", 0.5))
        tell(record("L1.mlp", 0.5))
    assert len(asked) == 1
    assert heard.lines == ["tracker fake is left behind: no network"]


def test_an_unknown_tracker_gets_near_names() -> None:
    with (
        pytest.raises(UsageError, match="unknown tracker 'wandbb': did you mean wandb") as caught,
        open_tracker("wandbb", "run", {}),
    ):
        pass
    assert caught.value.exit_code == 2


def test_without_wandb_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"), open_tracker("wandb", "r", {}):
        pass


def written_late(file: Path, words: Sequence[bytes], seconds: float = 20.0) -> list[bytes]:
    """The words that are not in the file in time: a process of wandb's own writes it."""
    end = time.monotonic() + seconds
    while missing := [word for word in words if word not in file.read_bytes()]:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return missing


def test_wandb_keeps_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    with open_tracker("wandb", "my-run", {"seed": "31415"}, folder) as tell:
        tell(record("L17.mlp.down", 0.8125))
        tell(record("L18.attn", nan))
    (kept,) = folder.glob("wandb/offline-run-*/*.wandb")
    words = (b"my-run", b"31415", b"L17.mlp.down", b"0.8125", b"L18.attn", b"rung-1")
    missing = written_late(kept, words)
    assert missing == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_wandb_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("api_key not configured\nmore")

    monkeypatch.setattr(wandb, "init", refuse)
    with (
        pytest.raises(UsageError, match="api_key not configured; run `wandb login`"),
        open_tracker("wandb", "run", {}, tmp_path),
    ):
        pass
