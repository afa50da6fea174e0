"""A whole search with workers: the records of one process; signals leave no process and no file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from locscope.execution import teams
from locscope.models.load import Loaded
from locscope.progress import Silent
from locscope.runs.folder import open_run
from locscope.settings import SearchSettings
from locscope.workflows.publish import Found
from locscope.workflows.search import local_runner
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search

PATIENCE = 240.0
TIMES = ("seconds", "checksum")
SMALL = ("--parts", "mlp.down,attn", "--finalists", "2", "--repetitions", "2", "--controls", "1")
SMALL += ("--validations", "1", "--audit", "2")


def begun(model: Path, edits: Path, output: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "locscope", "search", "--model", str(model)]
    command += ["--edits", str(edits), "--output", str(output), *SMALL, *words]
    # Under its own folder of temporary files, by which its workers are found.
    env = {**os.environ, "TMPDIR": str(output.parent), "OMP_NUM_THREADS": "2"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def workers_of(home: Path) -> list[int]:
    """Worker processes whose files lie below `home`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "execution.worker" in words and str(home) in words:
            found.append(int(path.parent.name))
    return found


def until(met: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def results(value: Any) -> Any:
    """The value without times."""
    if isinstance(value, dict):
        return {key: results(inner) for key, inner in value.items() if key not in TIMES}
    return [results(inner) for inner in value] if isinstance(value, list) else value


def records(folder: Path) -> dict[str, Any]:
    return {
        path.name: results(json.loads(path.read_text(encoding="utf-8")))
        for path in folder.glob("records/*.json")
        if path.name != "run-info.json"
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_leaves_no_worker_and_no_file(
    name: str, tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    process = begun(tiny_dir, edits_file, output, "--workers", "2", "--epochs", "400")
    try:
        until(lambda: len(workers_of(tmp_path)) == 2, "no workers begin")
        until(lambda: list(output.glob("records/trial-*.json")), "no trial ends")
        process.send_signal(getattr(signal, name))
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    until(lambda: workers_of(tmp_path) == [], "workers outlive their search")
    until(lambda: not list(tmp_path.glob("locscope-workers-*")), "files are left")
    if name != "SIGKILL":
        assert process.returncode == 130
        assert said.rstrip().endswith("interrupted: the same command goes on with what is done")


@pytest.mark.slow
def test_a_search_with_workers_writes_the_records_of_one_process(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    for count in ("1", "2"):
        process = begun(tiny_dir, edits_file, tmp_path / count, "--workers", count)
        said, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode in (0, 3), said
    one, two = records(tmp_path / "1"), records(tmp_path / "2")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == set()
    # What is finished starts no worker: there is nothing that takes long enough.
    process = begun(tiny_dir, edits_file, tmp_path / "2", "--workers", "2")
    while process.poll() is None:
        assert workers_of(tmp_path) == []
        time.sleep(0.2)
    said, _ = process.communicate()
    assert process.returncode in (0, 3), said


@pytest.mark.parametrize("threads", [1, 2])
def test_without_a_number_there_are_as_many_workers_as_torch_has_threads(
    threads: int, plain: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chosen(Exception):
        """Ends the search where its team is chosen."""

    def opened(_: Loaded, workers: int, *__: object, **___: object) -> None:
        raise Chosen(workers)

    monkeypatch.setattr(teams, "LONG", 0.0)
    monkeypatch.setattr(teams, "only_here", lambda _: ())
    monkeypatch.setattr(teams, "usable_cores", lambda: 4)
    monkeypatch.setattr(teams, "Processes", opened)
    monkeypatch.setattr(local_runner, "run_trials", lambda *_, **__: pytest.fail("in one process"))
    plan, before = plan_search(plain, tmp_path / "run"), torch.get_num_threads()
    torch.set_num_threads(threads)
    ended = pytest.fail.Exception if threads == 1 else Chosen
    try:
        with pytest.raises(ended, match="in one process" if threads == 1 else "2"):
            search(plan, Silent())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("asked", [1, 2])
def test_threads_go_by_the_trials_asked_for_not_by_those_missing(
    asked: int,
    found: Found,
    settings: SearchSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = [record for record in found.inputs.trials if record.trial.rung == "full"][:asked]
    wanted, *there = every
    told: list[bool] = []

    def ran(*args: Any, alone: bool, **_: object) -> None:
        told.append(alone)
        args[3](wanted)

    monkeypatch.setattr(local_runner, "run_trials", ran)
    folder = tmp_path / "run"
    with open_run(folder, {}) as opened:
        runner = LocalTrialRunner(plan_search(settings, folder), opened, Silent())
        runner.known = {record.trial.id: record for record in there}
        runner.trials("full", [record.trial for record in every])
    assert told == [asked == 1]
