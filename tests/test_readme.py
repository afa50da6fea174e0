"""The README's commands are commands that there are, and they run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from screens import CUT, in_terminal

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
QUICK = "--limit 24 --parts mlp.down --repetitions 2 --epochs 3"
"""What makes a search of the README small enough to run here."""
RUN_BY = f"""
set -euo pipefail
# A search or an edit may end with 3: done, but out of the bounds.
locscope() {{
  case $1 in
    search) shift; set -- search "$@" {QUICK} ;;
  esac
  "{sys.executable}" -m locscope "$@" || [ $? -eq 3 ]
}}
"""


def _commands(program: str) -> list[str]:
    """The README's lines that call a program, without comments, continued lines joined."""
    lines = "".join(BLOCKS).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith(f"{program} ")]


LOCSCOPE = [command for command in _commands("locscope") if "--help" not in command]


@cache
def _help(verb: str) -> str:
    plain = {"COLUMNS": "240", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "locscope", verb, "--help"],
        env=os.environ | plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"locscope {verb}: {done.stderr}"
    return done.stdout


def test_there_are_commands_for_every_need() -> None:
    verbs = {shlex.split(command)[1] for command in LOCSCOPE}
    assert {"search", "check", "edit", "evaluate", "report", "list"} <= verbs


@pytest.mark.parametrize("command", LOCSCOPE)
def test_a_command_has_only_options_that_there_are(command: str) -> None:
    words = shlex.split(command, comments=True)
    known = set(re.findall(r"--[a-z][a-z-]*", _help(words[1])))
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known


@pytest.mark.parametrize("command", _commands("make"))
def test_a_make_command_has_a_target(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    words = [word for word in shlex.split(command, comments=True)[1:] if "=" not in word]
    assert set(words) <= targets


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("width", [80, 120])
def test_the_commands_run_in_their_order_in_a_terminal(tmp_path: Path, width: int) -> None:
    """All blocks but those that call make, as one script; searches are cut to a small one."""
    script = RUN_BY + "".join(block for block in BLOCKS if not block.startswith("make"))
    seen = in_terminal(["-c", script], width, tmp_path, program="bash", seconds=2300)
    assert seen.code == 0, seen.text[-4000:]
    assert "Traceback" not in seen.text
    assert not [line for line in seen.lines if any(mark in line for mark in CUT)]
    drawn = [line for screen in seen.screens for line in screen.splitlines() if "━ " in line]
    assert drawn, "bars are drawn while it runs"
    assert not [line for line in drawn if any(mark in line for mark in CUT)]
    assert seen.cursor
