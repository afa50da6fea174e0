"""Commands in processes of their own, to be killed and interrupted at any moment."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.tuning import workspace

PATIENCE = 240.0
"""Seconds after which a command that says nothing new has failed."""
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Kept:
    """A file as it lies there: rewriting it changes the time."""

    content: bytes
    written: int


@dataclass(frozen=True)
class Case:
    """A command to start, where it writes, and what it says.

    One that is `fresh` is a new interpreter; else it is a copy of this process, which has all
    libraries in memory.
    """

    words: tuple[str, ...]
    folder: Path
    log: Path
    fresh: bool = False


@contextmanager
def begun(one: Case) -> Iterator[int]:
    """The number of a process that works; it does not outlive the block."""
    pid = os.fork()
    if pid == 0:
        _become(one)
    try:
        yield pid
    finally:
        if exit_code(pid) is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _become(one: Case) -> None:
    """In the child: does it and ends."""
    code = 70
    try:
        file = os.open(one.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if one.fresh:
            words = [sys.executable, "-m", "locscope", *one.words]
            os.execve(sys.executable, words, {**os.environ, **QUIET})
        # A fork has none of the threads that the parent's pool counts on.
        torch.set_num_threads(1)
        workspace.THREADS_ALONE = 1
        code = CliRunner().invoke(app, list(one.words)).exit_code
    finally:
        os._exit(code)


def exit_code(pid: int) -> int | None:
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


def wait(
    pid: int, one: Case, met: Callable[[], bool] = lambda: False, every: float = 0.005
) -> int | None:
    """Until that is so (then None) or the process has ended: its exit code."""
    until = time.monotonic() + PATIENCE
    while not met():
        code = exit_code(pid)
        if code is not None:
            return code
        assert time.monotonic() < until, one.log.read_text()
        time.sleep(every)
    return None


def kept(folder: Path, kind: str = "trial") -> dict[str, Kept]:
    """The records of a kind as they lie in a run folder."""
    return {
        path.name: Kept(path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.glob(f"records/{kind}-*.json")
    }


def records(folder: Path) -> int:
    return sum(1 for _ in folder.glob("records/*.json"))


def partials(folder: Path) -> list[Path]:
    """What saves into `folder` left beside it, or are about to write."""
    return list(folder.parent.glob(f".{folder.name}.*.partial"))


def content(folder: Path) -> dict[str, bytes]:
    """The files of a saved model, but for the note and the card, which tell the time taken."""
    told = ("locscope.json", "README.md")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in told}
