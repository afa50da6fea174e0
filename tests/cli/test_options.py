"""Options are written once, as fields of settings: every field has one option, or says why not."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from locscope.cli import data, finding, using
from locscope.cli.app import COMMANDS, app
from locscope.cli.options import read_settings
from locscope.settings import EditSettings, EvaluateSettings, ScanSettings, SearchSettings
from locscope.settings.base import PANELS, SharedSettings
from locscope.tuning.recipes import RECIPES

OFF_COMMAND_LINE: dict[str, tuple[type[SharedSettings], Iterable[str]]] = {
    "search": (SearchSettings, finding.NOT_IN_SEARCH),
    "scan": (ScanSettings, ("abilities",)),
    "check": (SearchSettings, set(SearchSettings.model_fields) - set(finding.IN_CHECK)),
    "edit": (EditSettings, using.IN_SEARCHES),
    "evaluate": (EvaluateSettings, using.IN_SEARCHES),
}
"""Of every command the settings that it takes, and those that have no option."""


def command_of(name: str) -> Any:
    (module,) = (one for one in (data, finding, using) if COMMANDS[name][0] == one.__name__)
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
    for module in (data, finding, using):
        named = {name for name, (home, _) in COMMANDS.items() if home == module.__name__}
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
    ("verb", "field", "typed", "wanted"),
    [
        ("search", "prompt_format", "", ["raw", "chat", "qa"]),
        ("search", "conflicts", "l", ["last"]),
        ("search", "strategy", "ra", ["race", "random"]),
        ("edit", "recipe", "", list(RECIPES)),
        ("scan", "metric", "prob", ["probability"]),
    ],
)
def test_values_are_completed(verb: str, field: str, typed: str, wanted: list[str]) -> None:
    command = command_of(verb)
    with command.make_context(verb, [], resilient_parsing=True) as context:
        items = options_of(verb)[field].shell_complete(context, typed)
    assert [item.value for item in items] == wanted


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
