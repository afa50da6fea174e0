"""Signals end an edit in one line, whenever they come, and nothing half written stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from killing import Case, begun, content, ended, exit_code, partials, wait

import locscope
from locscope.cli.stopping import line, stoppable

TRIES = int(os.environ.get("LOCSCOPE_SIGNALS", "4"))
"""At random moments, for each signal; besides two within the save."""
LINE = "locscope: interrupted: nothing is saved, and the same command begins anew"
OF_OTHERS = "locscope: interrupted: give the same command again"
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def edit_case(model: Path, edits: Path, folder: Path) -> Case:
    given = ("--model", str(model), "--edits", str(edits), "--output", str(folder))
    words = ("edit", *given, "--location", "L1.mlp", "--lr", "0.002", "--epochs", "3")
    return Case(words, folder, folder.with_suffix(".log"), fresh=True)


def outcome(pid: int, one: Case) -> int:
    until = time.monotonic() + 120
    while (code := exit_code(pid)) is None:
        assert time.monotonic() < until, one.log.read_text()
        time.sleep(0.01)
    return code


def check(code: int, one: Case, whole: dict[str, bytes], done: int) -> None:
    said = one.log.read_text()
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert partials(one.folder) == []
    if code == 130:
        assert said.splitlines().count(LINE) == 1
        assert not one.folder.exists()
        return
    # Python itself was not yet ready, or all was done: in the last moments of its end it gives the
    # signals back to the system, which knows no exit code but its own.
    assert code == done or code < 0, said
    if said:
        assert LINE not in said
        assert content(one.folder) == whole
        assert f"saved to {one.folder}" in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_signal_ends_an_edit_in_one_line(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    alone = edit_case(tiny_dir, edits_file, tmp_path / "alone")
    began = time.monotonic()
    done = ended(alone)
    took, whole, draw = time.monotonic() - began, content(alone.folder), Random(TRIES)
    codes = []
    for number in range(TRIES + 2):
        for name in NAMES:
            one = edit_case(tiny_dir, edits_file, tmp_path / f"{name}{number}")
            with begun(one) as pid:
                saving = lambda one=one: bool(partials(one.folder))  # noqa: E731
                code = None
                if number < 2:
                    code = wait(pid, one, saving, every=0.0)
                    time.sleep(draw.uniform(0, 0.01))
                else:
                    time.sleep(draw.uniform(0.1, took))
                # On a machine with much else to do the whole save may pass between two looks.
                if code is None:
                    os.kill(pid, getattr(signal, name))
                codes.append(outcome(pid, one) if code is None else code)
            check(codes[-1], one, whole, done)
    assert codes.count(130) > len(codes) / 3, codes


def test_an_interruption_within_exec_ends_in_130_too(tmp_path: Path) -> None:
    """As in the midst of an import, of which many make code from text."""
    sent = "__import__('os').kill(__import__('os').getpid(), 2)"
    # A shell starts what runs in the background with SIGINT ignored, and ignored it would stay.
    lines = ["import signal", "signal.signal(signal.SIGINT, signal.default_int_handler)"]
    lines += ["from locscope.cli.stopping import stoppable", "with stoppable():"]
    (tmp_path / "sending.py").write_text("\n".join([*lines, f"    exec({sent!r})"]))
    words = [sys.executable, "-m", "sending"]
    root = str(Path(locscope.__file__).parents[1])
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, check=False, stderr=-1
    )
    assert (done.returncode, done.stderr.decode()) == (130, OF_OTHERS + "\n")


def test_a_signal_that_a_destructor_drops_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def work() -> None:
        Dropping()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            time.sleep(0.01)

    numbers = [getattr(signal, name) for name in NAMES]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        with pytest.raises(SystemExit) as caught, stoppable():
            work()
    finally:
        for number in numbers:
            signal.signal(number, before[number])
    assert caught.value.code == 130
    assert capsys.readouterr().err == OF_OTHERS + "\n"


def test_a_hangup_that_is_ignored_stays_so_and_a_second_signal_does_not_break_the_cleaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cleaned: list[str] = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("cleaned")
            # What imports make of an interruption.
            raise ImportError("cannot import name") from None

    numbers = [getattr(signal, name) for name in NAMES]
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as caught, stoppable():
            work()
    finally:
        for number in numbers:
            signal.signal(number, before[number])
    assert caught.value.code == 130
    assert cleaned == ["cleaned"]
    assert capsys.readouterr().err == OF_OTHERS + "\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search", "--model", "demo"), "goes on with what is done"),
        (("scan",), "goes on with what is done"),
        (("edit", "--output", "scan"), "begins anew"),
        (("check",), "give the same command again"),
        (("--version",), "give the same command again"),
    ],
)
def test_it_is_said_whether_the_same_command_goes_on(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["locscope", *words])
    assert line().endswith(said)
