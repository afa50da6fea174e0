"""What a person sees: commands in a pty, 80 and 120 columns wide, read by a screen emulator."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from families import save_tiny
from rich.console import Console
from screens import CUT, in_terminal
from towns import edit_rows

from locscope.cli.listener import NAME_WIDTH, Lines, Terminal, share_done
from locscope.progress import Progress, stage, track
from locscope.report.data.words import duration
from locscope.scans import SCANS

TINY = ["--model", "tiny", "--edits", "edits.json"]
SMALL = [*TINY, "--parts", "mlp.down", "--no-quarters", "--repetitions", "2"]
SMALL += ["--epochs", "3", "--audit", "0", "--no-thorough"]
SHARE = re.compile(r"━ (\d+)%")
"""How far the whole job is, behind its bar."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands find a tiny model and edits: what they show does not depend on the model."""
    save_tiny(tmp_path / "tiny", "llama")
    (tmp_path / "edits.json").write_text(json.dumps(edit_rows()), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("width", [80, 120])
def test_a_scan_in_a_terminal(folder: Path, width: int) -> None:
    command = ["scan", *TINY, "--scans", "weight-gradient,logit-lens", "--output", "s"]
    seen = in_terminal(command, width, folder)
    assert seen.code == 0, seen.text
    assert "report: s/report.html" in seen.text
    assert not any(mark in seen.text for mark in CUT)
    assert "━" not in seen.text, "the bars are gone when it is done"
    assert seen.cursor


def test_a_search_in_a_terminal(folder: Path) -> None:
    """Bars move and nothing of them is cut; what is left is lines and the result."""
    seen = in_terminal(["search", *SMALL, "--output", "run"], 80, folder)
    assert seen.code in {0, 3}, seen.text
    assert "report: run/report.html" in seen.text
    drawn = [line for screen in seen.screens for line in screen.splitlines() if "━" in line]
    assert not [line for line in drawn if any(mark in line for mark in CUT)]
    shares = [int(share) for line in drawn for share in SHARE.findall(line)]
    assert len(set(shares)) > 5, "the bar moves"
    assert "left" in "".join(drawn), "the time left is said"
    assert not SHARE.search(seen.text), "the bars are gone when it is done"
    assert seen.cursor


def test_an_interrupted_search_leaves_a_clean_screen(folder: Path) -> None:
    command = ["search", *SMALL, "--output", "run"]
    seen = in_terminal(command, 80, folder, interrupt_at="rung 1")
    assert seen.code == 130, seen.text
    assert "interrupted: the same command goes on" in seen.text
    assert "━" not in seen.text
    assert "Traceback" not in seen.text
    assert seen.cursor


def _job(progress: Progress) -> None:
    with stage(progress, "searching", 10):
        with stage(progress, "looks", 4, share=5):
            for name in ("L1.mlp", "L2.mlp"):
                progress.advance(name)
            progress.say("a line")
        with stage(progress, "looks", 2, share=5):
            progress.advance("L3.mlp")
            progress.advance("L4.mlp")


@pytest.mark.parametrize("kind", [Terminal, Lines])
def test_several_stages_in_a_row_and_within_each_other(kind: type[Progress]) -> None:
    """A second job after the first: tasks were once looked up by their number in a list."""
    console = Console(force_terminal=True, width=80, record=True)
    for _ in range(2):
        _job(kind(console))
    progress = kind(console)
    _job(progress)
    _job(progress)
    assert list(track(progress, "counting", [1, 2])) == [1, 2]
    assert "searching: " in console.export_text()


def test_a_stage_that_comes_several_times_in_a_row_leaves_one_line() -> None:
    console = Console(force_terminal=True, width=80, record=True)
    progress = Terminal(console)
    with stage(progress, "searching", 10):
        for name in ("looks", "full", "full", "full", "looks"):
            with stage(progress, name, 1, share=2):
                progress.advance()
        progress.say("a note")
    lines = [line.strip() for line in console.export_text().splitlines()]
    said = [line.partition(":")[0] + line[-9:] * line.endswith("rounds") for line in lines if line]
    assert [one for one in said if "\u2501" not in one][-5:] == [
        "looks", "full 3 rounds", "looks", "a note", "searching",
    ]  # fmt: skip


def test_what_is_known_already_says_nothing_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of the job lay in the folder, a tenth of the rest took 10 s: nine times that is left."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("locscope.cli.listener.time", clock)
    progress = Terminal(Console(width=80))
    with stage(progress, "searching", 100):
        with stage(progress, "rung 1", 0, share=50):
            pass
        assert progress._left(share_done(progress._open)) == "50%"
        with stage(progress, "full", 10, share=50):
            now[0] = 10.0
            progress.advance()
            left = progress._left(share_done(progress._open))
    assert left == f"55%, {duration(90)} left"


def test_a_stage_that_ends_well_is_done_however_few_steps_it_told_of() -> None:
    console = Console(width=80, record=True)
    progress = Lines(console)
    with stage(progress, "tuning", 1):
        pass
    assert "tuning: done in" in console.export_text()


def _fail(progress: Progress, steps: int) -> None:
    with stage(progress, "tuning", 3):
        for _ in range(steps):
            progress.advance()
        raise KeyError


def test_a_stage_that_fails_is_not_done() -> None:
    console = Console(width=80, record=True)
    progress = Lines(console)
    with pytest.raises(KeyError):
        _fail(progress, 1)
    assert "tuning: stopped at 1 of 3 after" in console.export_text()
    with pytest.raises(KeyError):
        _fail(progress, 0)
    assert "stopped" not in console.export_text()


@pytest.mark.parametrize("name", SCANS)
def test_the_stage_of_every_scan_fits_beside_its_bar(name: str) -> None:
    assert len(f"  scan {name}") <= NAME_WIDTH
