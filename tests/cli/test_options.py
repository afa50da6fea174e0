"""Options are written once, as fields of settings: every field has one option, or says why not."""

import inspect
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from locscope.cli import caches, data, deltas, finding, using
from locscope.cli.app import COMMANDS, app
from locscope.cli.options import ENV, NOT_IN_ENV
from locscope.cli.written import read_settings
from locscope.errors import UsageError
from locscope.settings import EditSettings, EvaluateSettings, ScanSettings, SearchSettings
from locscope.settings.base import PANELS, SharedSettings
from locscope.workflows.listing import LISTS

MODULES = (caches, data, deltas, finding, using)

OFF_COMMAND_LINE: dict[str, tuple[type[SharedSettings], Iterable[str]]] = {
    "search": (SearchSettings, finding.NOT_IN_SEARCH),
    "scan": (ScanSettings, ("abilities",)),
    "check": (SearchSettings, set(SearchSettings.model_fields) - set(finding.IN_CHECK)),
    "edit": (EditSettings, using.IN_SEARCHES),
    "evaluate": (EvaluateSettings, (*using.IN_SEARCHES, "prefix_cache")),
}
"""Of every command the settings that it takes, and those that have no option."""


def command_of(name: str) -> Any:
    (module,) = (one for one in MODULES if COMMANDS[name].module == one.__name__)
    return typer.main.get_group(module.commands).commands[name]


def options_of(name: str) -> dict[str, Any]:
    return {option.name: option for option in command_of(name).params}


@pytest.mark.parametrize("name", OFF_COMMAND_LINE)
def test_every_field_has_one_option_or_is_declared_as_having_none(name: str) -> None:
    kind, off = OFF_COMMAND_LINE[name]
    options = options_of(name)
    assert set(kind.model_fields) & set(options) == set(kind.model_fields) - set(off)
    assert set(off) <= set(kind.model_fields)
    flags = [flag for option in options.values() for flag in option.opts]
    assert len(flags) == len(set(flags)) == len(options)


@pytest.mark.parametrize("name", OFF_COMMAND_LINE)
def test_an_option_says_what_its_field_says_and_is_left_to_it(name: str) -> None:
    kind, off = OFF_COMMAND_LINE[name]
    options = options_of(name)
    for field in set(kind.model_fields) - set(off):
        assert options[field].help.startswith(kind.model_fields[field].description)
        assert options[field].default is None
    panels = [PANELS.index(option.rich_help_panel) for option in options.values()]
    assert panels == sorted(panels)


def test_every_command_is_in_the_list_and_the_other_way_round() -> None:
    for module in MODULES:
        named = {name for name, page in COMMANDS.items() if page.module == module.__name__}
        assert set(typer.main.get_group(module.commands).commands) == named
    assert set(OFF_COMMAND_LINE) == {
        name for name in COMMANDS if "file" in inspect.signature(_function(name)).parameters
    }


def _function(name: str) -> Any:
    return command_of(name).callback


def test_defaults_are_in_the_help() -> None:
    words = {name: option.help for name, option in options_of("search").items()}
    assert words["seed"].endswith("(default: 0)")
    assert words["bound_margin"].endswith("(default: 0.4)")
    assert words["quarters"].endswith("(default: yes)")
    assert words["parts"].endswith("(default: block,attn,mlp,mlp.up,mlp.down)")
    assert words["deploy"].endswith("(default: all)")
    assert "default" not in words["trust_remote_code"]


def test_flags() -> None:
    options = options_of("search")
    assert (options["quarters"].opts, options["quarters"].secondary_opts) == (
        ["--quarters"],
        ["--no-quarters"],
    )
    assert options["trust_remote_code"].secondary_opts == []
    assert (options["bounds"].opts, options["bounds"].multiple) == (["--bound"], True)
    assert (options["weights"].opts, options["weights"].multiple) == (["--weight"], True)
    assert options["bound_margin"].opts == ["--bound-margin"]


def test_options_that_are_left_out_are_not_set() -> None:
    written = {"limit": None, "bounds": [], "weights": [], "epochs": 3, "quarters": False}
    settings = read_settings(SearchSettings, None, written)
    assert settings.model_fields_set == {"epochs", "quarters"}


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("epochs: 7\nbatch-size: 5\nweights: {locality: 3}\n")
    settings = read_settings(SearchSettings, file, {"epochs": 2, "weights": ["locality=2"]})
    assert (settings.epochs, settings.batch_size) == (2, 5)
    assert settings.weights == {"locality": 2.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--epoch", "3"], "--epochs"),
        (["scan", "--ablate", "zero"], "--ablation"),
        (["serch"], "search"),
    ],
)
def test_near_names_of_unknown_options_and_commands(arguments: list[str], words: str) -> None:
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 2
    assert words in said.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_of_help_has_panels_and_ends_with_an_example_that_parses(name: str) -> None:
    said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert said.exit_code == 0
    lines = [line.strip() for line in said.stdout.splitlines()]
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert "\u2026" not in said.stdout
    examples = COMMANDS[name].examples
    places = [lines.index(example) for example in examples]
    assert min(places) > max(i for i, line in enumerate(lines) if line.startswith("\u2570"))
    for example in examples:
        program, verb, *words = shlex.split(example)
        assert (program, verb) == ("locscope", name)
        with command_of(name).make_context(name, words, resilient_parsing=False):
            pass
    panels = {option.rich_help_panel for option in command_of(name).params}
    assert panels - {None} <= set(PANELS)


def test_a_variable_says_what_an_option_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in (("search", SearchSettings), ("edit", EditSettings)):
        for field, option in options_of(name).items():
            off = field in (*NOT_IN_ENV, "ctx")
            told = (option.envvar or "").removeprefix(ENV).lower()
            assert told in {"" if off else field, "" if off else option.opts[0].strip("-")}, field
        assert "trust_remote_code" in kind.model_fields
    monkeypatch.setenv("LOCSCOPE_SHARE", "0.2")
    monkeypatch.setenv("LOCSCOPE_PARTS", "mlp,attn")
    monkeypatch.setenv("LOCSCOPE_BOUND", "kl<=1 locality>=0.9")
    monkeypatch.setenv("LOCSCOPE_QUARTERS", "no")
    seen = _settings_read(["check"])
    assert "share" not in seen.model_fields_set, "check has no such option"
    seen = _settings_read(["search", "--share", "0.4"])
    assert (seen.share, seen.parts, seen.quarters) == (0.4, ("mlp", "attn"), False)
    assert seen.bounds == ("kl<=1", "locality>=0.9")


def _settings_read(words: list[str]) -> SearchSettings:
    """What a command makes of what is written, before it does anything."""
    seen: list[Any] = []

    def told(settings: SearchSettings, *_: object) -> None:
        seen.append(settings)
        raise UsageError("seen")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("locscope.workflows.early.precheck.before_search", told)
        patch.setattr("locscope.workflows.early.precheck.before_check", told)
        said = CliRunner().invoke(app, words)
    assert seen, said.output
    return seen[0]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LOCSCOPE_LIMIT", "many", "'many'"),
        ("LOCSCOPE_DEVICE", "gpu", "unknown device 'gpu': did you mean cuda? (set by"),
        ("LOCSCOPE_STRATEGY", "rcae", "unknown strategy 'rcae'"),
    ],
)
def test_a_variable_that_is_wrong_is_named(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    said = CliRunner().invoke(app, ["search"])
    assert said.exit_code == 2
    assert words in said.stderr
    assert f"(set by {variable})" in said.stderr


def test_a_settings_file_has_the_names_of_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "bound: kl<=1\nweight: [locality=2]\nparts: mlp, attn\nscans: cheap\nquarters: false\n"
        "output: runs/x\ntracker: nobody\nresume: true\n"
    )
    read = read_settings(SearchSettings, file, {}, ("output", "tracker", "fresh"))
    assert (read.bounds, read.weights) == (("kl<=1",), {"locality": 2.0})
    assert (read.parts, read.quarters) == (("mlp", "attn"), False)
    said = CliRunner().invoke(app, ["search", "--settings", str(file)])
    assert "unknown tracker 'nobody'" in said.stderr
    said = CliRunner().invoke(app, ["search", "--settings", str(file), "--tracker", "me"])
    assert "unknown tracker 'me'" in said.stderr, "options win"
    said = CliRunner().invoke(app, ["scan", "--settings", str(file)])
    assert "unknown setting 'bound'" in said.stderr
    file.write_text("bound: kl<=1\nbounds: [kl<=2]\n")
    with pytest.raises(UsageError, match="'bounds' twice"):
        read_settings(SearchSettings, file, {})


def test_a_settings_file_of_a_search_serves_a_check(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("edits: demo\noutput: runs/x\ntracker: wandb\nstrategy: sweep\n")
    said = CliRunner().invoke(app, ["check", "--settings", str(file)])
    assert said.exit_code == 0, said.stderr
    assert "264 of 264" in said.stdout


def test_a_list_without_a_kind_is_all_lists() -> None:
    said = CliRunner().invoke(app, ["list", "--format", "json"])
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert list(found) == list(LISTS)
    for kind, rows in found.items():
        one = CliRunner().invoke(app, ["list", kind, "--format", "json"])
        assert json.loads(one.stdout) == rows
        assert rows
    plain = CliRunner().invoke(app, ["list"], env={"COLUMNS": "80"}).stdout
    names = [name for rows in found.values() for name in rows]
    assert all(name in plain for name in names)
    assert max(map(len, plain.splitlines())) <= 80


def test_quiet_says_nothing_but_why_it_ends(tmp_path: Path) -> None:
    words = ["scan", "--scans", "depth-rule", "--limit", "10", "--quiet"]
    said = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "s")])
    assert (said.exit_code, said.stderr) == (0, "")
    assert "depth-rule" in said.stdout
    said = CliRunner().invoke(app, [*words, "--edits", "none.json"])
    assert len(said.stderr.splitlines()) == 1


def test_a_limit_above_what_there_is_is_said() -> None:
    said = CliRunner().invoke(app, ["check", "--edits", "demo", "--limit", "2000"])
    assert "limit 2000 is more than there is: all 264 edits are used" in said.stdout
