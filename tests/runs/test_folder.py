import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from locscope.errors import UsageError
from locscope.records import ModelInfo, RunInfo
from locscope.runs.files import write_atomic, write_atomic_with
from locscope.runs.folder import LOCK, default_name, open_run, refuse_other_settings
from locscope.runs.info import MARKER, read_info, read_settings, write_info

SETTINGS = {"seed": "0", "model": "demo"}
MODEL = ModelInfo("demo", "demo", "llama", 1, 8, 2, 1, 16, 100, "float32", "float32", "cpu", "abc")
INFO = RunInfo(1, "search", "done", SETTINGS, "h", 0, {}, MODEL, "demo", "e", 3, (), ())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_fresh_from_within_the_folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for _ in range(2):
        with open_run(".", SETTINGS, fresh=True):
            pass
    assert names(tmp_path) == {"run", "run.old-1"}


def test_a_new_folder_is_made_with_its_settings(tmp_path):
    path = tmp_path / "runs" / "one"
    said: list[str] = []
    with open_run(path, SETTINGS, say=said.append) as folder:
        assert (said, folder) == ([], path)
        assert read_settings(path) == SETTINGS
        assert read_info(path) is None
        assert names(path) == {MARKER, LOCK, "records"}


def test_equal_settings_resume(tmp_path):
    with open_run(tmp_path / "run", SETTINGS) as folder:
        write_info(folder, INFO)
    with open_run(tmp_path / "run", dict(reversed(SETTINGS.items()))) as folder:
        assert read_info(folder) == INFO


def test_files_of_workers_that_were_killed_go_when_the_run_is_opened(tmp_path):
    with open_run(tmp_path / "run", SETTINGS):
        left = tmp_path / "run" / "locscope-workers-there-7-x"
        left.mkdir()
        (left / "model.pt").write_bytes(b"weights")
    with open_run(tmp_path / "run", SETTINGS):
        assert not left.exists()


def test_other_settings_are_named(tmp_path):
    with open_run(tmp_path / "run", SETTINGS):
        pass
    changed = {"seed": "1", "limit": "5"}
    expected = r"seed 0 -> 1; model demo -> \(not set\); limit \(not set\) -> 5; use --fresh"
    with pytest.raises(UsageError, match=expected), open_run(tmp_path / "run", changed):
        pass
    assert read_settings(tmp_path / "run") == SETTINGS
    before = names(tmp_path / "run")
    with pytest.raises(UsageError, match=expected):
        refuse_other_settings(tmp_path / "run", changed)
    refuse_other_settings(tmp_path / "run", SETTINGS)
    refuse_other_settings(tmp_path / "none", SETTINGS)
    assert names(tmp_path / "run") == before
    assert names(tmp_path) == {"run"}


def test_fresh_moves_aside_and_never_deletes(tmp_path):
    for seed in range(3):
        said: list[str] = []
        with open_run(tmp_path / "run", {"seed": str(seed)}, fresh=True, say=said.append):
            assert bool(said) == (seed > 0)
    assert names(tmp_path) == {"run", "run.old-1", "run.old-2"}
    found = [read_settings(tmp_path / name)["seed"] for name in ("run.old-1", "run.old-2", "run")]
    assert found == ["0", "1", "2"]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path, fresh):
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(UsageError, match=r"not a run folder \(it has thesis.tex"),
        open_run(tmp_path, SETTINGS, fresh=fresh),
    ):
        pass
    assert names(tmp_path) == {"thesis.tex"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "was not written by locscope"),
        ("[]", "was not written by locscope"),
        ('{"settings": {}}', "was not written by locscope"),
        ('{"schema_number": 9, "settings": {}}', "newer locscope .schema 9"),
    ],
)
def test_a_strange_marker_is_refused(tmp_path, content, message):
    (tmp_path / MARKER).write_text(content)
    for fresh in (False, True):
        with pytest.raises(UsageError, match=message), open_run(tmp_path, SETTINGS, fresh=fresh):
            pass
    assert names(tmp_path) == {MARKER}


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(UsageError, match="is a file"), open_run(tmp_path / "run", SETTINGS):
        pass
    with pytest.raises(UsageError, match="cannot"), open_run(tmp_path / "run" / "in", SETTINGS):
        pass


def test_what_a_killed_start_leaves_is_taken_over(tmp_path):
    (tmp_path / LOCK).write_text("process 1")
    (tmp_path / f".{MARKER}.1.partial").write_text("{")
    with open_run(tmp_path, SETTINGS):
        assert read_settings(tmp_path) == SETTINGS


def _hold(path, ready, done):
    with open_run(path, SETTINGS):
        ready.set()
        done.wait(60)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_process_is_refused_and_told_of_the_first(tmp_path, fresh):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "run", ready, done))
    process.start()
    assert ready.wait(60)
    expected = f"in use by process {process.pid} on .* since 2"
    with (
        pytest.raises(UsageError, match=expected),
        open_run(tmp_path / "run", SETTINGS, fresh=fresh),
    ):
        pass
    done.set()
    process.join(60)
    with open_run(tmp_path / "run", SETTINGS):
        pass
    assert names(tmp_path) == {"run"}


def test_an_error_of_the_work_is_not_blamed_on_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), open_run(tmp_path / "run", SETTINGS):
        raise FileNotFoundError("mine")
    with open_run(tmp_path / "run", SETTINGS):
        pass


def test_reading_folders_that_are_not_runs(tmp_path):
    with pytest.raises(UsageError, match="is not a run folder"):
        read_info(tmp_path)
    write_info(tmp_path, INFO)
    broken = {**json.loads((tmp_path / MARKER).read_text()), "edit_count": "many"}
    del broken["checksum"]
    (tmp_path / "records" / "run-info.json").unlink()
    (tmp_path / MARKER).write_text(json.dumps(broken))
    with pytest.raises(UsageError, match="field 'edit_count'"):
        read_info(tmp_path)
    write_info(tmp_path, replace(INFO, schema_number=2))
    with pytest.raises(UsageError, match="newer"):
        read_info(tmp_path)


@pytest.mark.parametrize(
    ("model", "edits", "name"),
    [
        ("demo", "demo", "demo-demo-abc123"),
        ("meta-llama/Meta-Llama-3-8B", "../data/my edits.jsonl", "Meta-Llama-3-8B-my-edits-abc123"),
        ("/models/../", "é/ü", "unnamed-unnamed-abc123"),
        ("x" * 300, "..", f"{'x' * 60}-unnamed-abc123"),
    ],
)
def test_default_names_are_safe(model, edits, name):
    assert default_name(model, edits, "abc123") == Path("runs") / name


def test_a_failed_write_leaves_the_file_that_was(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        write_atomic_with(path, fail)
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_a_path_below_home_is_the_same_under_another_home(tmp_path):
    with open_run(tmp_path / "run", {"edits": "~/data/e.json", "edits_hash": "a"}):
        pass
    with open_run(tmp_path / "run", {"edits": "/users/me/data/e.json", "edits_hash": "a"}):
        pass
    for other in ("/users/me/e.json", "~/e.json", "data/e.json", "/x~/data/e.json.gz"):
        settings = {"edits": other, "edits_hash": "a"}
        with pytest.raises(UsageError, match="edits"), open_run(tmp_path / "run", settings):
            pass


def test_the_name_of_a_new_folder_is_on_the_disk(tmp_path, monkeypatch):
    real, synced = os.fsync, []

    def seen(descriptor):
        synced.append(os.stat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    with open_run(tmp_path / "deep" / "run", SETTINGS):
        pass
    wanted = (tmp_path, tmp_path / "deep", tmp_path / "deep" / "run")
    assert {path.stat().st_ino for path in wanted} <= set(synced)
