"""A model's own code runs only where whoever runs the command says so, and is warned of it."""

import json
import warnings
from pathlib import Path

import pytest
from families import save_tiny
from towns import edit_rows
from typer.testing import CliRunner, Result

import locscope
from locscope.cli.app import app


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "tiny", "llama")


def _said(*words: str) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("verb", ["search", "scan", "check", "edit", "evaluate"])
@pytest.mark.parametrize(
    "line",
    [
        *("trust_remote_code: true", "trust-remote-code: true"),
        *("{trust_remote_code: 1}", '"trust_remote-code": yes', "? trust_remote_code\n: true"),
    ],
)
def test_a_settings_file_cannot_say_it(verb: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(line)
    where = ["--output", str(tmp_path / "out")] if verb == "edit" else []
    # Nor does the option let the file say it too.
    for option in ([], ["--trust-remote-code"]):
        result = _said(verb, "--settings", str(file), *where, *option)
        assert result.exit_code == 2, result.output
        (said,) = result.stderr.splitlines()
        assert "trust_remote_code" in said
        assert "only who runs the command" in said


def test_a_recommendation_cannot_say_it(tmp_path: Path) -> None:
    file = tmp_path / "recommendation.yaml"
    for inner in ({"data": {"trust_remote_code": True}}, {"trust_remote_code": True}):
        section = {"location": "L1.mlp", "recipe": {"lr": 1e-3, "batch": 2}}
        section |= {"provenance": {"model": "demo"}, **inner}
        file.write_text(json.dumps({"locscope": section}))
        result = _said("edit", "--config", str(file), "--output", str(tmp_path / "out"))
        assert result.exit_code == 2
        assert "trust_remote_code" in result.stderr


def test_each_use_of_it_is_warned_of(model: Path, tmp_path: Path) -> None:
    edits = tmp_path / "e.json"
    edits.write_text(json.dumps(edit_rows()))
    given = ["check", "--model", str(model), "--edits", str(edits)]
    for _ in range(2):
        result = _said(*given, "--trust-remote-code")
        assert result.exit_code == 0, result.output
        (said,) = [line for line in result.stderr.splitlines() if "warning" in line]
        assert said.startswith("locscope: warning: trust_remote_code: Python code in the folder of")
    assert "warning" not in _said(*given).stderr
    for _ in range(2):
        with pytest.warns(UserWarning, match="runs with all your rights"):
            locscope.load_model(model, trust_remote_code=True)
