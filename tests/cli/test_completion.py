"""What the shell completes: names, files and folders, without torch and a network."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from locscope.cli.app import COMMANDS
from locscope.tuning.recipes import RECIPES

SMOLLM2 = ("135m", "135m-base", "360m", "360m-base", "1.7b", "1.7b-base")


@pytest.mark.parametrize(
    ("verb", "field", "typed", "wanted"),
    [
        ("search", "prompt_format", "", ["raw", "chat", "qa"]),
        ("search", "conflicts", "l", ["last"]),
        ("search", "strategy", "ra", ["race", "random"]),
        ("search", "model", "llama-3.2-1", ["llama-3.2-1b", "llama-3.2-1b-base"]),
        ("search", "model", "smollm2", ["smollm2", *(f"smollm2-{one}" for one in SMOLLM2)]),
        ("check", "edits", "", ["demo", "facts"]),
        ("search", "scans", "cheap,logit", ["cheap,logit-lens"]),
        ("search", "parts", "attn,mlp.", ["attn,mlp.gate", "attn,mlp.up", "attn,mlp.down"]),
        ("search", "locations", "L1.mlp,L2.attn.", [f"L1.mlp,L2.attn.{one}" for one in "qkvo"]),
        ("edit", "location", "L9", ["L9."]),
        ("edit", "location", "L1.mlp+L2.mlp.d", ["L1.mlp+L2.mlp.down"]),
        ("search", "bounds", "retention", ["retention<=", "retention>="]),
        ("search", "device", "cu", ["cuda", "cuda:0"]),
        ("search", "dtype", "bf", ["bfloat16"]),
        ("edit", "recipe", "", list(RECIPES)),
        ("scan", "metric", "prob", ["probability"]),
    ],
)
def test_values_are_completed(
    verb: str,
    field: str,
    typed: str,
    wanted: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed(verb, field, typed) == wanted


def completed(verb: str, field: str, typed: str) -> list[str]:
    module = import_module(COMMANDS[verb].module)
    command: Any = typer.main.get_group(module.commands).commands[verb]
    options = {option.name: option for option in command.params}
    with command.make_context(verb, [], resilient_parsing=True) as context:
        return [item.value for item in options[field].shell_complete(context, typed)]


def test_files_and_folders_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine.gguf", "mine.csv", "mine.parquet", "mine.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert completed("search", "model", "mi") == [
        *(name for name in completed("search", "model", "mistral")),
        *("mine/", "mine.gguf"),
    ]
    assert completed("search", "edits", "mi") == ["mine/", "mine.csv", "mine.parquet"]
