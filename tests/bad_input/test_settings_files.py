"""Settings files and recommendations that are wrong: one short line that names file and key."""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from bad_input.corpora import (
    BUDGETS,
    FILES,
    WEIGHTS,
    Change,
    recommendation_changes,
    settings_lines,
)
from report_factory import recommendation

from locscope.cli.options import read_settings
from locscope.errors import UsageError
from locscope.runs.edit_config import read_recommendation
from locscope.runs.recommendation import recommendation_yaml
from locscope.settings import SearchSettings

PATIENCE = 5.0
"""Seconds for one file, on a machine with much else to do: one that hangs takes for ever."""
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MOST = 1600
"""Characters of a line."""


def complaint(read: Callable[[], object]) -> str:
    """What is wrong with how an input is refused, in words; else the error."""
    began = time.monotonic()
    try:
        read()
    except UsageError as error:
        line = str(error)
    else:
        return "ACCEPTED"
    if time.monotonic() - began > PATIENCE:
        return "TOO SLOW"
    return "NOT ONE SHORT LINE" if len(line) > MOST or "\n" in line else line


def refused_settings(folder: Path, content: bytes) -> str:
    path = folder / "s.yaml"
    path.write_bytes(content)
    return complaint(lambda: read_settings(SearchSettings, path, {}))


def test_values_that_no_setting_can_have(tmp_path: Path) -> None:
    lines = settings_lines()
    assert len(lines) > 250
    lines += [(f"weights: {bad}", "weight") for bad in WEIGHTS]
    lines += [(f"budget: {bad}", "budget") for bad in BUDGETS]
    found = {line: refused_settings(tmp_path, line.encode()) for line, _ in lines}
    wrong = {line[:60]: found[line] for line, key in lines if key not in found[line]}
    assert wrong == {}


def test_settings_files_that_cannot_be_read(tmp_path: Path) -> None:
    found = {name: refused_settings(tmp_path, content) for name, content, _ in FILES}
    assert {name: found[name] for name, _, words in FILES if words not in found[name]} == {}
    names_file = [name for name in found if "s.yaml" not in found[name]]
    # These three are told by the key, as from the command line.
    assert names_file == ["merge", "unknown key", "no key"]


def test_values_that_are_right(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "model: 2024-01-01\nseed: 4294967295\nbudget: 1\nnoise: 5e-4\nlimit: 3\nquarters: off\n"
        "share: .5\nweights: {locality: 2}\nfirst-step: 1.5e-05\nscans: []\nneutral: ~\n"
    )
    read = read_settings(SearchSettings, path, {})
    assert (read.model, read.seed, read.budget, read.noise) == ("2024-01-01", 2**32 - 1, "1", 5e-4)
    assert (read.quarters, read.share, read.first_step) == (False, 0.5, 1.5e-5)


def changed(content: dict[str, Any], where: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = deepcopy(content)
    inner = made
    for key in where[:-1]:
        inner = inner.setdefault(key, {})
    inner[where[-1]] = value
    return made


def test_recommendations_changed_by_hand(tmp_path: Path) -> None:
    text = recommendation_yaml(
        recommendation(weights={"locality": 1.0}), model_path="m", data_path="d", patterns={}
    )
    content, path = yaml.safe_load(text), tmp_path / "r.yaml"
    path.write_text(text)
    assert str(read_recommendation(path).location) == "L6.mlp.down"

    def wrong(change: Change) -> str:
        where, value = change
        path.write_text(yaml.dump(changed(content, where, value), Dumper=DUMPER))
        line = complaint(lambda: read_recommendation(path))
        # Of a location and a model the error says what it is.
        named = where[-1] in line or (where[-1] == "layer" and "layer" in line)
        return "" if named and str(path) in line else line or "NOTHING SAID"

    changes = recommendation_changes()
    assert len(changes) > 130
    found = {f"{where[-1]}: {str(bad)[:40]!r}": wrong((where, bad)) for where, bad in changes}
    assert {key: line for key, line in found.items() if line} == {}


def test_recommendation_files_that_cannot_be_read(tmp_path: Path) -> None:
    path, wrong = tmp_path / "r.yaml", {}
    for name, content, words in FILES:
        path.write_bytes(content)
        line = complaint(lambda: read_recommendation(path))
        expected = str(path) if "setting" in words or "keys" in words else words
        if expected not in line and "unknown key" not in line:
            wrong[name] = line
    assert wrong == {}
