"""A search that is killed goes on where it was: nothing lost or run twice, the same result."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

PATIENCE = 240.0
"""Seconds after which a search that says nothing new has failed."""
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
SMALL = ("--parts", "mlp.down,attn", "--no-quarters", "--finalists", "2", "--repetitions", "2")
SHORT = ("--share", "0.5", "--epochs", "4", "--audit", "2", "--scans", "weight-gradient")


@dataclass(frozen=True)
class Kept:
    """A file as it lies there: rewriting it changes the time."""

    content: bytes
    written: int


def command(model: Path, edits: Path, folder: Path, *more: str) -> list[str]:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    return [sys.executable, "-m", "locscope", "search", *given, *SMALL, *SHORT, *more]


@contextmanager
def begun(words: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """A search in a process of its own; it does not outlive the block."""
    with log.open("w") as file:
        process = subprocess.Popen(words, env={**os.environ, **QUIET}, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def ended(words: list[str], log: Path) -> int:
    with begun(words, log) as process:
        return process.wait(PATIENCE)


def trials(folder: Path) -> dict[str, Kept]:
    return {
        path.name: Kept(path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.glob("records/trial-*.json")
    }


def records(folder: Path) -> int:
    return sum(1 for _ in folder.glob("records/*.json"))


def wait_until(met, process: subprocess.Popen, log: Path) -> None:
    """Until that is so or the process has ended."""
    until = time.monotonic() + PATIENCE
    while not met() and process.poll() is None:
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.005)


def kill_at_random(words: list[str], folder: Path, log: Path, draw: Random) -> bool:
    """Kills the search some records later; False where it had ended before."""
    wanted, delay = records(folder) + draw.randrange(5), draw.uniform(0, 0.2)
    with begun(words, log) as process:
        if draw.random() < 0.9:
            wait_until((folder / "run.json").exists, process, log)
            wait_until(lambda: records(folder) >= wanted, process, log)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        return process.wait(PATIENCE) == -signal.SIGKILL


def survive(kills: int, model: Path, edits: Path, place: Path, *more: str) -> None:
    """Kills a search so often and compares what it finds in the end with one left alone."""
    alone, folder, log = place / "alone", place / "killed", place / "log"
    code = ended(command(model, edits, alone, *more), log)
    assert code in {0, 3}, log.read_text()
    draw, kept = Random(20), dict[str, Kept]()
    for _ in range(kills):
        assert kill_at_random(command(model, edits, folder, *more), folder, log, draw)
        there = trials(folder)
        assert kept.items() <= there.items(), "a finished trial was lost or run twice"
        kept = there
    assert ended(command(model, edits, folder, *more), log) == code, log.read_text()
    there = trials(folder)
    assert kept.items() <= there.items()
    assert there.keys() == trials(alone).keys()
    assert not (folder / "records" / "damaged").exists()
    for name in ("recommendation.yaml", "scorecard.json"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes()


def test_three_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(3, tiny_dir, edits_file, tmp_path, "--no-thorough")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(20, tiny_dir, edits_file, tmp_path)


def test_a_second_search_is_told_who_has_the_folder(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    words = command(tiny_dir, edits_file, folder)
    with begun(words, log) as first:
        wait_until((folder / "records").exists, first, log)
        assert first.poll() is None, log.read_text()
        first.send_signal(signal.SIGSTOP)
        before = trials(folder)
        second = subprocess.run(
            words, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        (line,) = [one for one in second.stderr.splitlines() if one.startswith("locscope: ")]
        holder = re.escape(f"in use by process {first.pid} on {socket.gethostname()} since ")
        assert re.search(holder + r"\d{4}-", line)
        assert second.stdout == ""
        assert trials(folder) == before
