"""What is killed goes on where it was: nothing is lost, run twice or half written, and the result
is the same.

LOCSCOPE_KILLS=50 python -m pytest -m slow tests/workflows/test_kill.py kills so often in all.
"""

import os
import re
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from killing import Case, Kept, begun, content, ended, kept, partials, records, wait
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import UsageError
from locscope.runs.note import read_note
from locscope.settings import EvaluateSettings
from locscope.workflows.evaluate import plan_evaluate

KILLS = int(os.environ.get("LOCSCOPE_KILLS", "20"))
"""In all of the slow tests: two fifths at searches, a fifth at scans, two fifths at edits."""
SEED = int(os.environ.get("LOCSCOPE_SEED", "20"))
SMALL = ("--parts", "mlp.down", "--no-quarters", "--finalists", "1", "--repetitions", "2")
SHORT = ("--epochs", "3", "--audit", "2", "--scans", "weight-gradient")


def case(model: Path, edits: Path, folder: Path, *more: str, fresh: bool = False) -> Case:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    words = ("search", *given, *SMALL, *SHORT, *more)
    return Case(words, folder, folder.with_suffix(".log"), fresh)


def scan_case(model: Path, edits: Path, folder: Path) -> Case:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    scans = ("--scans", "weight-gradient,head-gradient,mlp-ablation,causal-tracing")
    return Case(("scan", *given, *scans), folder, folder.with_suffix(".log"), fresh=True)


def edit_case(model: Path, edits: Path, folder: Path, fresh: bool = False) -> Case:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    words = ("edit", *given, "--location", "L1.mlp", "--lr", "0.002", "--epochs", "3")
    return Case(words, folder, folder.with_suffix(".log"), fresh)


def kill_at_random(one: Case, draw: Random) -> bool:
    """Kills the search some records later; False where it had ended before."""
    wanted, delay = records(one.folder) + draw.randrange(5), draw.uniform(0, 0.2)
    with begun(one) as pid:
        if draw.random() < 0.9:
            marker = one.folder / "run.json"
            code = wait(pid, one, lambda: marker.exists() and records(one.folder) >= wanted)
            if code is not None:
                assert code in {0, 3}, one.log.read_text()
                return False
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def survive(kills: int, alone: Case, killed: Case, kind: str, same: tuple[str, ...]) -> None:
    """Kills a search or scan so often and compares what it finds in the end with one left alone."""
    code = ended(alone)
    assert code in {0, 3}, alone.log.read_text()
    draw, seen, killings = Random(SEED), dict[str, Kept](), 0
    while killings < kills:
        died = kill_at_random(killed, draw)
        there = kept(killed.folder, kind)
        assert seen.items() <= there.items(), "what was finished was lost or run twice"
        seen, killings = there, killings + died
        if not died:
            # It came to its end before: the next begins anew.
            shutil.rmtree(killed.folder)
            seen = {}
    assert ended(killed) == code, killed.log.read_text()
    there = kept(killed.folder, kind)
    assert seen.items() <= there.items()
    assert there.keys() == kept(alone.folder, kind).keys()
    assert not (killed.folder / "records" / "damaged").exists()
    for name in same:
        assert (killed.folder / name).read_bytes() == (alone.folder / name).read_bytes()


SEARCHED = ("recommendation.yaml", "scorecard.json")


def survive_saving(kills: int, alone: Case, killed: Case) -> None:
    """Kills an edit so often, half of the times within its save: a model is there whole or not at
    all, what is left is no model, and the same command writes it."""
    began = time.monotonic()
    code = ended(alone)
    took = time.monotonic() - began
    assert code in {0, 3}, alone.log.read_text()
    draw, left = Random(SEED), 0
    for number in range(kills):
        with begun(killed) as pid:
            if number % 2 == 0:
                wait(pid, killed, lambda: bool(partials(killed.folder)), every=0.0)
                time.sleep(draw.uniform(0, 0.02))
            else:
                time.sleep(draw.uniform(0, took))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left += _believed(alone, killed)
    shutil.rmtree(killed.folder, ignore_errors=True)
    assert ended(killed) == code, killed.log.read_text()
    assert content(killed.folder) == content(alone.folder)
    assert partials(killed.folder) == []
    assert left or kills < 4, "no kill was within a save"


def _believed(alone: Case, killed: Case) -> bool:
    """Checks what a kill left; whether there is a part of a model."""
    for folder in partials(killed.folder):
        with pytest.raises(UsageError, match="not a whole model: a save of it was cut off"):
            plan_evaluate(EvaluateSettings(model=str(folder)))
    if killed.folder.exists():
        assert content(killed.folder) == content(alone.folder)
        assert read_note(killed.folder) is not None
        shutil.rmtree(killed.folder)
    return bool(partials(killed.folder))


def test_three_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(
        3,
        case(tiny_dir, edits_file, tmp_path / "alone", "--no-thorough"),
        case(tiny_dir, edits_file, tmp_path / "killed", "--no-thorough"),
        "trial",
        SEARCHED,
    )


def test_a_killed_save_leaves_no_model(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive_saving(
        2,
        edit_case(tiny_dir, edits_file, tmp_path / "alone"),
        edit_case(tiny_dir, edits_file, tmp_path / "killed"),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_kills_change_nothing(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    survive(
        2 * KILLS // 5,
        case(tiny_dir, edits_file, tmp_path / "alone", fresh=True),
        case(tiny_dir, edits_file, tmp_path / "killed", fresh=True),
        "trial",
        SEARCHED,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_kills_of_a_scan_change_nothing(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    survive(
        KILLS // 5,
        scan_case(tiny_dir, edits_file, tmp_path / "alone"),
        scan_case(tiny_dir, edits_file, tmp_path / "killed"),
        "scan",
        (),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_kills_of_an_edit_leave_no_half_model(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    survive_saving(
        2 * KILLS // 5,
        edit_case(tiny_dir, edits_file, tmp_path / "alone", fresh=True),
        edit_case(tiny_dir, edits_file, tmp_path / "killed", fresh=True),
    )


def test_a_second_search_is_told_who_has_the_folder(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    one = case(tiny_dir, edits_file, tmp_path / "run")
    with begun(one) as pid:
        assert wait(pid, one, (one.folder / "records").exists) is None, one.log.read_text()
        os.kill(pid, signal.SIGSTOP)
        before = kept(one.folder)
        second = CliRunner().invoke(app, list(one.words))
        assert second.exit_code == 2
        (line,) = [some for some in second.stderr.splitlines() if some.startswith("locscope: ")]
        holder = re.escape(f"in use by process {pid} on {socket.gethostname()} since ")
        assert re.search(holder + r"\d{4}-", line)
        assert second.stdout == ""
        assert kept(one.folder) == before
