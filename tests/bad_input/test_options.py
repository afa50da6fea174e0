"""Options with values that none can have: exit code 2 and one short line, before anything runs."""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_input.corpora import OPTIONS
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import LONGEST, UsageError, shortened, shown
from locscope.runs.edit_config import read_recommendation
from locscope.runs.folder import open_run
from locscope.settings import read_settings_file
from locscope.workflows.provenance import other_environments

LONG = "x" * 300
PATIENCE = 20.0
"""Seconds of all options together would be a thousand times that, did one of them loop."""


def test_options_that_no_search_can_have(tmp_path: Path) -> None:
    given = [(option, value) for option, values in OPTIONS.items() for value in values]
    assert len(given) > 100
    wrong = {}
    for option, value in given:
        began, words = time.monotonic(), ["search", "--output", str(tmp_path / "run")]
        result = CliRunner().invoke(app, [*words, "--dry-run", option, value])
        refused = result.exit_code == 2 and isinstance(result.exception, SystemExit)
        if not refused or len(result.stderr) > 3000 or time.monotonic() - began > PATIENCE:
            wrong[f"{option} {value[:20]}"] = repr(result.exception)
    assert wrong == {}
    assert os.listdir(tmp_path) == []


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in (LONG, "x" * 6000):
        with pytest.raises(UsageError, match="File name too long"), open_run(tmp_path / name, {}):
            pass
        with pytest.raises(UsageError, match="File name too long"):
            read_recommendation(tmp_path / name)
    with pytest.raises(UsageError, match="NUL"), open_run(tmp_path / "a\0b", {}):
        pass


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="it is no regular file"):
        read_settings_file(tmp_path / "pipe")


def test_a_pipe_of_the_shell_is_read() -> None:
    end, begin = os.pipe()
    # Larger than what a pipe holds, so that reading has to wait for the writer.
    text = b"limit: 5\n" + b"# and so on\n" * 10_000

    def write() -> None:
        with open(begin, "wb") as file:
            file.write(text)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_settings_file(Path(f"/dev/fd/{end}")) == {"limit": 5}
    writer.join()
    os.close(end)


def test_errors_quote_long_inputs_shortened() -> None:
    assert len(shown("a" * 10**6)) < 100
    assert len(str(UsageError("b" * 10**6))) < LONGEST + 60
    assert str(UsageError("short")) == "short"
    assert shortened("abcdef", 4) == "ab [... 2 characters ...] ef"


def test_trials_of_another_environment_are_told() -> None:
    now = ("torch 2.13.0", "device cpu", "threads 2")
    before = ("torch 2.12.0", "device cpu", "threads 1")

    def records(*environments: tuple[str, ...]) -> list:
        return [SimpleNamespace(environment=one) for one in environments]

    assert other_environments(records(now, ()), now) == ()
    (note,) = other_environments(records(now, before, before, ()), now)
    assert note == (
        "2 trials of this folder were run with torch 2.12.0, threads 1, and those now with "
        "torch 2.13.0, threads 2: numbers may differ in their last digits"
    )
