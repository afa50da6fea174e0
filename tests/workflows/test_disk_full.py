"""A disk that is full or cannot be written: one line, what was done stays, the same command goes
on."""

import errno
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from locscope.cli.app import app
from locscope.errors import LocscopeError, UsageError
from locscope.runs.files import explained
from locscope.workflows.publish import Found

SMALL = ["--parts", "mlp.down", "--no-quarters", "--finalists", "1", "--repetitions", "2"]
SMALL += ["--epochs", "2", "--audit", "0", "--scans", "weight-gradient", "--no-thorough"]
SIZES = (32, 64, 100, 160, 260, 420, 700, 1100, 1800, 40_000)
"""KiB of a disk on which a search begins, and to which it then grows."""


def _run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def _one_line(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = [one for one in result.stderr.splitlines() if one.startswith("locscope: ")]
    return line


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, LocscopeError) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        *((number, UsageError) for number in (errno.EACCES, errno.EROFS, errno.ENOTDIR)),
    ],
)
def test_a_full_disk_is_no_wrong_usage(number: int, kind: type[LocscopeError]) -> None:
    with pytest.raises(LocscopeError, match="cannot write it") as raised, explained("write it"):
        raise OSError(number, os.strerror(number))
    assert type(raised.value) is kind


@pytest.mark.slow
def test_a_report_that_finds_no_room_leaves_every_file_whole(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes some files of it, a few more with every try."""
    folder = tmp_path / "run"
    shutil.copytree(found.folder, folder)
    (folder / "report.html").write_text("the old page")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sync, left = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    whole: dict[Path, bytes] = {}
    for room in (0, 1, 4, 9, 13, 20):
        left = room
        line = _one_line(_run("report", str(folder)), 1)
        assert "No space left" in line
        assert "make room, and give the same command again" in line
        for path in folder.rglob("*"):
            assert not path.name.endswith(".partial")
            if path.is_file() and path.read_bytes() != before.get(path):
                whole[path] = path.read_bytes()
    left = 10_000
    assert _run("report", str(folder)).exit_code == 0
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert folder / "recommendation.yaml" not in whole, "it is the same again"


def test_a_full_disk_behind_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    with full.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "locscope", "list", "recipes"],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left" in line


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, of 32 KiB; it takes root to mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    wanted = ["mount", "-t", "tmpfs", "-o", f"size={SIZES[0]}k", "tmpfs", str(where)]
    if shutil.which("mount") is None or subprocess.run(wanted, check=False).returncode != 0:
        pytest.skip("no file system can be mounted")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def _grow(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)


def _trials(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("records/trial-*.json")}


@pytest.mark.slow
def test_a_search_on_a_disk_that_grows(tiny_dir: Path, edits_file: Path, disk: Path) -> None:
    given = ["search", "--model", str(tiny_dir), "--edits", str(edits_file), *SMALL]
    folder, kept, failed = disk / "run", dict[Path, bytes](), 0
    for size in SIZES:
        _grow(disk, size)
        result = _run(*given, "--output", str(folder))
        if result.exit_code in {0, 3}:
            break
        assert "No space left" in _one_line(result, 1)
        there = _trials(folder)
        assert kept.items() <= there.items(), "a trial was lost or run twice"
        kept, failed = there, failed + 1
    assert failed > 4
    assert kept
    assert result.exit_code in {0, 3}, result.output
    alone = disk.parent / "alone"
    assert _run(*given, "--output", str(alone)).exit_code == result.exit_code
    assert {path.name for path in _trials(folder)} == {path.name for path in _trials(alone)}
    name = "recommendation.yaml"
    assert (folder / name).read_bytes() == (alone / name).read_bytes()
    # Full once more: the report is drawn anew, or the old one stays.
    page = (folder / "report.html").read_bytes()
    used = sum(path.stat().st_blocks for path in folder.rglob("*")) // 2
    _grow(disk, used + 400)
    assert "No space left" in _one_line(_run("report", str(folder)), 1)
    assert (folder / "report.html").read_bytes() == page


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["search", "scan", "edit"])
def test_activations_find_no_room(
    verb: str,
    tiny_dir: Path,
    edits_file: Path,
    disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once a mapped file without blocks on the disk killed the process (SIGBUS)."""
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    none = ["--device-memory", "1e-9", "--host-memory", "1e-9"]
    given = [verb, "--model", str(tiny_dir), "--edits", str(edits_file), *none]
    given += ["--output", str(tmp_path / "out")]
    given += {
        "search": SMALL,
        "scan": ["--scans", "weight-gradient"],
        "edit": ["--location", "L2.mlp.down", "--lr", "1e-3", "--epochs", "1"],
    }[verb]
    if verb == "edit":
        given = [word for word in given if word not in none]
        file = tmp_path / "s.yaml"
        file.write_text("device_memory: 1.0e-9\nhost_memory: 1.0e-9\n")
        given += ["--settings", str(file)]
    line = _one_line(_run(*given), 1)
    assert "no room for cached activations" in line
    assert "TMPDIR" in line
    assert list(disk.iterdir()) == []
    _grow(disk, SIZES[-1])
    assert _run(*given).exit_code in {0, 3}
    assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_activations_to_keep_find_no_room(
    tiny_dir: Path, edits_file: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run needs them: it says so, goes on, and gives what it gives without."""
    monkeypatch.setenv("LOCSCOPE_CACHE", str(disk))
    given = ["edit", "--model", str(tiny_dir), "--edits", str(edits_file), "--epochs", "2"]
    given += ["--location", "L2.mlp.down", "--lr", "1e-3", "--prefix-cache", "1", "--delta"]
    deltas = [tmp_path / f"{number}.safetensors" for number in range(3)]
    with warnings.catch_warnings():
        # As a person runs it: a warning is a line and ends nothing.
        warnings.simplefilter("default")
        full = _run(*given, str(deltas[0]))
    assert full.exit_code in {0, 3}, full.output
    (line,) = [one for one in full.stderr.splitlines() if "cannot keep activations" in one]
    assert "No space left" in line
    assert [path for path in disk.rglob("*") if path.is_file()] == []
    _grow(disk, SIZES[-1])
    for delta in deltas[1:]:
        assert _run(*given, str(delta)).exit_code == full.exit_code
        assert len(list((disk / "prefix").iterdir())) == 1
    tensors = [load_file(delta) for delta in deltas]
    assert all(torch.equal(one[name], tensors[0][name]) for one in tensors for name in one)
