"""Two ways to say one setting: the nearer to the command line holds."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.cli.options import ENV
from locscope.errors import UsageError
from locscope.settings import EditSettings


@pytest.mark.parametrize(
    ("file", "variables", "words", "said"),
    [
        ("", {}, [], "full"),
        ("", {}, ["--no-evaluate"], "none"),
        ("evaluate: quick", {}, ["--no-evaluate"], "none"),
        ("no-evaluate: true", {}, [], "none"),
        ("no-evaluate: true", {}, ["--evaluate", "quick"], "quick"),
        ("no-evaluate: true", {"EVALUATE": "quick"}, [], "quick"),
        ("evaluate: quick", {"NO_EVALUATE": "1"}, [], "none"),
        ("evaluate: quick", {"NO_EVALUATE": "0"}, [], "quick"),
        ("", {"EVALUATE": "quick"}, ["--no-evaluate"], "none"),
        ("", {"NO_EVALUATE": "1"}, ["--evaluate", "quick"], "quick"),
        ("", {}, ["--no-evaluate", "--evaluate", "none"], "none"),
        ("", {}, ["--no-evaluate", "--evaluate", "full"], "give one of the two"),
        ("evaluate: full\nno_evaluate: true", {}, [], "give one of the two"),
        ("", {"EVALUATE": "full", "NO_EVALUATE": "1"}, [], "give one of the two"),
    ],
)
def test_of_two_ways_to_say_a_setting_the_nearer_to_the_command_line_holds(
    file: str,
    variables: dict[str, str],
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"{file}\n")

    def told(settings: EditSettings, *_: object, **__: object) -> None:
        raise UsageError(f"evaluate is {settings.evaluate}.")

    monkeypatch.setattr("locscope.workflows.early.precheck.before_edit", told)
    given = ["edit", "--location", "L1.mlp", "--output", "out", "--settings", str(path), *words]
    found = CliRunner().invoke(app, given, env={f"{ENV}{k}": v for k, v in variables.items()})
    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr
