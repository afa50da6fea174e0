"""Trackers hear of every trial and cannot stop a search."""

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import final

import pytest

from locscope.errors import UsageError
from locscope.integrations import trackers
from locscope.integrations.trackers import TRACKERS, Log, open_tracker, row_of
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


def test_without_its_service_a_tracker_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with (
            pytest.raises(UsageError, match=rf"pip install 'locscope\[{name}\]'"),
            open_tracker(name, "r", {}),
        ):
            pass


def test_every_tracker_has_an_extra() -> None:
    file = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(file.read_text())["project"]["optional-dependencies"]
    assert set(TRACKERS) <= set(extras)


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


def _filled(name: str, folder: Path) -> None:
    with open_tracker(name, "my-run", {"seed": "31415"}, folder) as tell:
        tell(record("L17.mlp.down", 0.8125))
        tell(record("L18.attn", nan))


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_keeps_every_trial(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _filled("tensorboard", tmp_path)
    kept = EventAccumulator(str(tmp_path / "tensorboard" / "my-run"))
    kept.Reload()
    assert [one.value for one in kept.Scalars("score")] == [0.8125]
    assert len(kept.Scalars("lr")) == 2
    texts = [one.tensor_proto.string_val[0].decode() for one in kept.Tensors("trial/text_summary")]
    assert ["L17.mlp.down" in texts[0], "L18.attn" in texts[1]] == [True, True]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_every_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    _filled("mlflow", tmp_path)
    assert (tmp_path / "mlflow.db").is_file()
    kept = mlflow.search_runs(experiment_names=["locscope"], output_format="list")
    by_location = {
        run.data.params["location"]: run for run in kept if "location" in run.data.params
    }
    assert by_location["L17.mlp.down"].data.metrics["score"] == 0.8125
    assert "score" not in by_location["L18.attn"].data.metrics
    (whole,) = [run for run in kept if "location" not in run.data.params]
    assert whole.data.params["seed"] == "31415"


@pytest.mark.filterwarnings("ignore")
def test_trackio_keeps_every_trial(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    program = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); from pathlib import Path; "
        "from workflows.test_trackers import _filled; _filled('trackio', Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ":".join(sys.path), str(tmp_path)],
        # Where it keeps runs is read when it is imported.
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    kept = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert all(word in kept for word in (b"L17.mlp.down", b"0.8125", b"L18.attn", b"31415"))
