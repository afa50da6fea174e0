"""Worker processes on a tiny model: their records are those of this process, and none is left."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from worlds import Notes, snapshot, trial_at, world

from locscope.errors import LocscopeError, UsageError
from locscope.execution.dispatch import run_in_team
from locscope.execution.handed import (
    Handed,
    read_loaded,
    read_workspace,
    remove_stale,
    write_loaded,
    write_workspace,
)
from locscope.execution.local import run_trials
from locscope.execution.processes import Processes
from locscope.locations import Location
from locscope.records import dumps
from locscope.scoring.objectives import BALANCED

TRIALS = [
    replace(trial_at(f"L{layer}.{part}"), quick=quick)
    for layer in (2, 0, 1)
    for part in ("mlp.down", "attn")
    for quick in (False, True)
]
PATIENCE = 60.0


@pytest.fixture(scope="module")
def one():
    return world("llama")


@pytest.fixture
def team(one, request):
    made = Processes(one.context.loaded, request.param)
    yield made
    made.close()


def pids(team):
    return [member.process.pid for member in team._members.values()]


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def all_ready(team):
    until = time.monotonic() + PATIENCE
    while len(team.layers) < team.workers:
        assert time.monotonic() < until
        assert team.events(wait=True) == []


def timeless(records):
    return {record.trial.id: dumps(replace(record, seconds=0.0)) for record in records}


def alone(one, trials):
    kept = []
    run_trials(one.context, "sweep", trials, kept.append, Notes())
    return timeless(kept)


@pytest.mark.parametrize("team", [2], indirect=True)
def test_records_are_those_of_one_process_and_a_killed_worker_costs_what_it_had(team, one):
    before, expected = snapshot(one.model), alone(one, TRIALS)
    team.open(one.context)
    all_ready(team)
    seen, kept, progress = pids(team), [], Notes()
    home = team.files.folder

    def keep(record):
        kept.append(record)
        if len(kept) == 3:
            os.kill(seen[0], signal.SIGKILL)

    run_in_team(team, one.context, "sweep", TRIALS, keep, progress, objective=BALANCED)
    assert len(kept) == len(TRIALS)
    assert timeless(kept) == expected
    assert [line for line in progress.lines if "is gone (signal 9 (SIGKILL))" in line]
    # The model of this process maps the same file, and is as it was.
    assert all(torch.equal(value, before[name]) for name, value in snapshot(one.model).items())
    # Another one took its place, and goes with the rest.
    now = pids(team)
    assert seen[0] not in now
    assert len(now) == 2
    team.close()
    assert all(map(gone, now))
    assert not home.exists()


@pytest.mark.parametrize("team", [1], indirect=True)
def test_an_error_in_a_worker_is_the_error_of_one_process(team, one):
    team.open(one.context)
    all_ready(team)
    lost, seen = trial_at("L7.mlp.down"), pids(team)
    with pytest.raises(UsageError) as here:
        alone(one, [lost])
    with pytest.raises(UsageError) as raised:
        run_in_team(team, one.context, "s", [lost], [].append, Notes(), objective=BALANCED)
    assert str(raised.value) == str(here.value)
    assert "run_trial" in "".join(raised.value.__notes__)
    assert all(map(gone, seen))


def test_a_workspace_is_the_same_from_its_files(one, tmp_path):
    write_loaded(one.context.loaded, tmp_path / "model.pt")
    write_workspace(one.context, tmp_path / "workspace.pt")
    loaded = read_loaded(tmp_path / "model.pt")
    other = read_workspace(tmp_path / "workspace.pt", loaded, workers=2)
    assert other.prefix_cache.budget.host == one.context.prefix_cache.budget.host // 2
    assert other.suite.text_generator.model is other.suite.neutral.model is loaded.model
    assert repr(other.before) == repr(one.before)
    trial = replace(trial_at("L1.mlp.down"), location=Location.parse("L1-2.mlp"))
    kept = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_trials(other, "sweep", [trial], kept.append, Notes())
    assert timeless(kept) == alone(one, [trial])
    # Tuned was a copy: the file that others map is not written.
    fresh = read_loaded(tmp_path / "model.pt")
    assert all(
        torch.equal(value, snapshot(one.model)[name])
        for name, value in snapshot(fresh.model).items()
    )


def own_world(**hooks):
    other = world("llama")
    for hook in hooks.values():
        other.model.register_forward_hook(hook)
    return other


def full_disk(content, path):
    Path(path).write_bytes(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nframe")


def no_room(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))


def writer_fails(monkeypatch):
    monkeypatch.setattr(torch, "save", full_disk)


def no_folder(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")


@pytest.mark.parametrize("cause", [no_room, writer_fails, no_folder])
def test_without_room_one_line_says_so_and_only_who_asked_for_workers_ends(cause, monkeypatch):
    one, progress, kept = world("llama"), Notes(), []
    cause(monkeypatch)
    asked = Processes(one.context.loaded, 1)
    with pytest.raises(LocscopeError, match=r"^the files of workers cannot be written to .*TMPDIR"):
        asked.open(one.context)
    asked.close()
    team = Processes(one.context.loaded, 1, asked=False)
    run_in_team(team, one.context, "s", TRIALS[:2], kept.append, progress, objective=BALANCED)
    assert len(kept) == 2
    assert [line[:44] for line in progress.lines] == [
        "trials run in this process: the files of wor"
    ]
    # Other stages ask again, and nobody is begun.
    run_in_team(team, one.context, "s", TRIALS[2:3], kept.append, progress, objective=BALANCED)
    assert (len(kept), len(progress.lines), pids(team)) == (3, 1, [])


def test_a_model_that_cannot_be_pickled_runs_here():
    one, progress, kept = own_world(hook=lambda *_: None), Notes(), []
    team = Processes(one.context.loaded, 1, asked=False)
    run_in_team(team, one.context, "s", TRIALS[:1], kept.append, progress, objective=BALANCED)
    assert len(kept) == 1
    assert "cannot be handed to other processes" in progress.lines[0]


def of_main(*_):
    """A hook that only the program that was begun has."""


def test_a_model_that_workers_cannot_open_runs_here(monkeypatch):
    monkeypatch.setattr(of_main, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "of_main", of_main, raising=False)
    one, progress, kept = own_world(hook=of_main), Notes(), []
    team = Processes(one.context.loaded, 1, asked=False)
    team.open(one.context)
    all_ready(team)
    run_in_team(team, one.context, "s", TRIALS[:2], kept.append, progress, objective=BALANCED)
    assert len(kept) == 2
    assert "a worker process cannot open the model (AttributeError: " in progress.lines[0]
    assert pids(team) == []


def test_no_more_processes_begin_than_there_are_trials_or_cores(one, monkeypatch):
    team, begun = Processes(one.context.loaded, 1000, ["cuda:1", "cuda:2"]), []
    monkeypatch.setattr(team, "_files", object())
    monkeypatch.setattr(team, "_begin", begun.append)
    team.start(3)
    assert begun == ["cuda:1", "cuda:1", "cuda:1"]  # `_begin` counts them.
    begun.clear()
    team.start()
    assert len(begun) == len(os.sched_getaffinity(0))
    monkeypatch.setattr(team, "_files", None)


def test_another_workspace_is_not_kept_alive_and_stale_folders_go(one, tmp_path, monkeypatch):
    handed, other = Handed(one.context.loaded, tmp_path), replace(one.context, quick=True)
    handed.open(one.context)
    handed.open(other)
    there = weakref.ref(other)
    del other
    gc.collect()
    assert there() is None
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = handed.folder.with_name(handed.folder.name.replace(f"{os.getpid()}", f"{process.pid}"))
    elsewhere = tmp_path / f"locscope-workers-other-{process.pid}-x"
    for folder in (dead, elsewhere):
        folder.mkdir()
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([handed.folder, elsewhere])
