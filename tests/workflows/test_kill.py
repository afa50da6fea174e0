"""A search that is killed goes on where it was: nothing lost or run twice, the same result."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import torch
from typer.testing import CliRunner

from locscope.cli.app import app

PATIENCE = 240.0
"""Seconds after which a search that says nothing new has failed."""
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
SMALL = ("--parts", "mlp.down", "--no-quarters", "--finalists", "1", "--repetitions", "2")
SHORT = ("--epochs", "3", "--audit", "2", "--scans", "weight-gradient")


@dataclass(frozen=True)
class Kept:
    """A file as it lies there: rewriting it changes the time."""

    content: bytes
    written: int


@dataclass(frozen=True)
class Case:
    """A search to start, where it goes, and what it says.

    One that is `fresh` is a new interpreter; else it is a copy of this process, which has all
    libraries in memory.
    """

    words: tuple[str, ...]
    folder: Path
    log: Path
    fresh: bool = False


def case(model: Path, edits: Path, folder: Path, *more: str, fresh: bool = False) -> Case:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    words = ("search", *given, *SMALL, *SHORT, *more)
    return Case(words, folder, folder.with_suffix(".log"), fresh)


@contextmanager
def begun(one: Case) -> Iterator[int]:
    """The number of a process that searches; it does not outlive the block."""
    pid = os.fork()
    if pid == 0:
        _become(one)
    try:
        yield pid
    finally:
        if _exit_code(pid) is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _become(one: Case) -> None:
    """In the child: searches and ends."""
    code = 70
    try:
        file = os.open(one.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if one.fresh:
            words = [sys.executable, "-m", "locscope", *one.words]
            os.execve(sys.executable, words, {**os.environ, **QUIET})
        torch.set_num_threads(1)
        code = CliRunner().invoke(app, list(one.words)).exit_code
    finally:
        os._exit(code)


def _exit_code(pid: int) -> int | None:
    """Of a process that has ended, and was not waited for; the signal, below 0, if it was killed.

    None while it goes on, and where its end was seen before.
    """
    try:
        there, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if there else None


def ended(one: Case) -> int:
    with begun(one) as pid:
        return wait(pid, one)


def wait(pid: int, one: Case, met: Callable[[], bool] = lambda: False) -> int | None:
    """Until that is so (then None) or the process has ended: its exit code."""
    until = time.monotonic() + PATIENCE
    while not met():
        code = _exit_code(pid)
        if code is not None:
            return code
        assert time.monotonic() < until, one.log.read_text()
        time.sleep(0.005)
    return None


def trials(folder: Path) -> dict[str, Kept]:
    return {
        path.name: Kept(path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.glob("records/trial-*.json")
    }


def records(folder: Path) -> int:
    return sum(1 for _ in folder.glob("records/*.json"))


def kill_at_random(one: Case, draw: Random) -> bool:
    """Kills the search some records later; False where it had ended before."""
    wanted, delay = records(one.folder) + draw.randrange(5), draw.uniform(0, 0.2)
    with begun(one) as pid:
        if draw.random() < 0.9:
            marker = one.folder / "run.json"
            code = wait(pid, one, lambda: marker.exists() and records(one.folder) >= wanted)
            assert code is None, one.log.read_text()
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def survive(kills: int, alone: Case, killed: Case) -> None:
    """Kills a search so often and compares what it finds in the end with one left alone."""
    code = ended(alone)
    assert code in {0, 3}, alone.log.read_text()
    draw, kept = Random(20), dict[str, Kept]()
    for _ in range(kills):
        assert kill_at_random(killed, draw)
        there = trials(killed.folder)
        assert kept.items() <= there.items(), "a finished trial was lost or run twice"
        kept = there
    assert ended(killed) == code, killed.log.read_text()
    there = trials(killed.folder)
    assert kept.items() <= there.items()
    assert there.keys() == trials(alone.folder).keys()
    assert not (killed.folder / "records" / "damaged").exists()
    for name in ("recommendation.yaml", "scorecard.json"):
        assert (killed.folder / name).read_bytes() == (alone.folder / name).read_bytes()


def test_three_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(
        3,
        case(tiny_dir, edits_file, tmp_path / "alone", "--no-thorough"),
        case(tiny_dir, edits_file, tmp_path / "killed", "--no-thorough"),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(
        20,
        case(tiny_dir, edits_file, tmp_path / "alone", fresh=True),
        case(tiny_dir, edits_file, tmp_path / "killed", fresh=True),
    )


def test_a_second_search_is_told_who_has_the_folder(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    one = case(tiny_dir, edits_file, tmp_path / "run")
    with begun(one) as pid:
        assert wait(pid, one, (one.folder / "records").exists) is None, one.log.read_text()
        os.kill(pid, signal.SIGSTOP)
        before = trials(one.folder)
        second = CliRunner().invoke(app, list(one.words))
        assert second.exit_code == 2
        (line,) = [some for some in second.stderr.splitlines() if some.startswith("locscope: ")]
        holder = re.escape(f"in use by process {pid} on {socket.gethostname()} since ")
        assert re.search(holder + r"\d{4}-", line)
        assert second.stdout == ""
        assert trials(one.folder) == before
