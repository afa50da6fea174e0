"""No file that a command writes tells whose machine it was made on, nor its tokens."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest
from towns import edit_rows
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.runs.private import with_home, without_home, without_secrets

USER, TOKEN, HOST = "quixotl7", "hf_AbCdEfGhIjKlMnOpQr", "wanderfalke-12"
SMALL = ["--parts", "mlp.down", "--no-quarters", "--finalists", "1", "--repetitions", "2"]
SMALL += ["--epochs", "2", "--audit", "0", "--scans", "weight-gradient", "--no-thorough"]


@pytest.fixture
def home(tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a model and edits in it, beside the folder that is worked in."""
    home, outside = tmp_path / USER, tmp_path / "outside"
    shutil.copytree(tiny_dir, home / "models" / "tiny")
    (home / "mine.json").write_text(json.dumps(edit_rows()), encoding="utf-8")
    (home / "neutral.txt").write_text("It rains today.\nThe cat sleeps.\n", encoding="utf-8")
    outside.mkdir()
    monkeypatch.chdir(outside)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    return home


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["locscope", *words])
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code in {0, 3}, result.output


def _given(home: Path) -> list[str]:
    names = {"--model": "models/tiny", "--edits": "mine.json", "--neutral": "neutral.txt"}
    return [word for option, name in names.items() for word in (option, str(home / name))]


def _told(*folders: str) -> list[str]:
    """Files with the name of the user, the token or the host in them."""
    files = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    assert files
    secrets = [word.encode() for word in (USER, TOKEN, HOST)]
    return [str(path) for path in files if any(word in path.read_bytes() for word in secrets)]


def test_an_edited_model_tells_nothing_and_is_measured_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--location", "L1.mlp.down", "--lr", "1e-3", "--epochs", "1", "--limit", "6"]
    _run(monkeypatch, "edit", *_given(home), *where, "--output", "edited")
    assert _told("edited") == []
    note = json.loads(Path("edited/locscope.json").read_text(encoding="utf-8"))
    assert note["edits"] == "~/mine.json"
    assert note["base"] == "~/models/tiny"
    assert note["data"]["neutral"] == "~/neutral.txt"
    _run(monkeypatch, "evaluate", "--model", "edited")


def test_scans_tell_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = ["--scans", "weight-gradient", "--limit", "6", "--output", "scans"]
    _run(monkeypatch, "scan", *_given(home), *scans)
    _run(monkeypatch, "scan", *_given(home), *scans)
    assert _told("scans") == []
    assert "~/models/tiny" in Path("scans/run.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_search_tells_nothing_and_its_recommendation_is_applied(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(monkeypatch, "search", *_given(home), *SMALL, "--output", "run", "--save", "saved")
    _run(monkeypatch, "report", "run")
    _run(monkeypatch, "edit", "--config", "run", "--output", "edited")
    assert _told("run", "saved", "edited") == []
    _run(monkeypatch, "evaluate", "--model", "edited")


ORDINARY = (
    "--model hf-internal-testing/tiny",
    "--edits sk-questions-large-2024.jsonl",
    "per-token loss of wandb-project-name",
    "--tokenizer x",
)
"""Texts that have a part of a token's or its option's name, and no token."""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("{home}/a.json", "~/a.json"),
        ("--edits={home}/a.json '{home}'", "--edits=~/a.json '~'"),
        ("{home}-other/a {home}.bak /mnt{home}/a", "{home}-other/a {home}.bak /mnt{home}/a"),
        (
            "--token abcd1234 --api-key=x --hf-token 'a b'",
            "--token *** --api-key=*** --hf-token ***",
        ),
        ("https://me:word@hub.example/x", "https://***@hub.example/x"),
        (f"a {TOKEN} b", "a *** b"),
        ("the token of a word --limit 3", "the token of a word --limit 3"),
        ("given to secretvalue99 alone", "given to *** alone"),
        *((text, text) for text in ORDINARY),
    ],
)
def test_what_is_left_of_a_command(
    text: str, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MY_API_KEY", "secretvalue99")
    home = str(tmp_path)
    assert without_secrets(text.format(home=home)) == left.format(home=home)


def test_a_home_behind_a_link_and_none_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    for name in ("real", "link"):
        assert without_home(str(tmp_path / name / "a")) == "~/a"
    assert with_home("~/a") == str(tmp_path / "link" / "a")
    assert with_home("~other") == "~other"
    monkeypatch.setenv("HOME", "/")
    assert without_home("/data/a") == "/data/a"
