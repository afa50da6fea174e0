"""The notebooks run in a small setting, show what they say, and are kept small."""

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from families import save_tiny
from towns import edit_rows

from locscope.runs.cache import VARIABLE
from locscope.scans import SCANS

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = (
    *("01_quickstart", "02_where_is_a_fact", "03_search", "04_your_model_your_edits"),
    "05_real_model",
)
EXECUTED = NAMES
"""Those that are kept with their outputs, which `make notebooks` writes."""
LARGEST = 500_000
SEARCH = {
    **{"parts": ("mlp.down",), "quarters": False, "thorough": False, "epochs": 1},
    **{"controls": 1, "repetitions": 1, "validations": 1, "finalists": 1, "limit": 12},
}
REAL = Path(os.environ.get("LOCSCOPE_SMOLLM2", "~/.cache/locscope-real/smollm2")).expanduser()
SMALL: dict[str, dict[str, Any]] = {
    "01_quickstart": {"SETTINGS": {**SEARCH, "scans": ("weight-gradient",), "audit": 0}},
    "02_where_is_a_fact": {},
    "03_search": {"EDITS": edit_rows(), "SETTINGS": SEARCH, "SCANS": ("weight-gradient",)},
    "04_your_model_your_edits": {"SETTINGS": {**SEARCH, "scans": ("weight-gradient",), "audit": 0}},
    "05_real_model": {"MODEL": str(REAL), "LOCATIONS": ("L24.mlp.down",), "EPOCHS": 1},
}
"""What the cell tagged `parameters` holds here."""


def cells(name: str) -> list[dict[str, Any]]:
    """The cells of a notebook, each with its source as one text."""
    read = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in read]


def code(name: str) -> list[dict[str, Any]]:
    """Its code cells, without the one that installs."""
    return [
        cell
        for cell in cells(name)
        if cell["cell_type"] == "code" and "install" not in cell["metadata"].get("tags", ())
    ]


def run(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell as a notebook does: the value of a last expression is what it shows."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def drawn(value: Any) -> str:
    """What a notebook shows of a value: CircuitsVis' HTML where it has some, else its text."""
    html = getattr(value, "_repr_html_", None)
    return (html and html()) or repr(value)


def test_these_are_the_notebooks() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", EXECUTED)
def test_a_notebook_is_small_and_was_executed_from_top_to_bottom(name: str) -> None:
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
    counts = [cell["execution_count"] for cell in cells(name) if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    kinds = [one["output_type"] for cell in code(name) for one in cell["outputs"]]
    assert "error" not in kinds
    for cell in code(name):
        ends_in_a_value = isinstance(ast.parse(cell["source"]).body[-1], ast.Expr)
        assert cell["outputs"] or not ends_in_a_value, cell["source"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_in_colab_and_installs_what_it_needs(name: str) -> None:
    first, install, *_ = (cell["source"] for cell in cells(name))
    assert re.search(
        rf"\(https://colab\.research\.google\.com/github/[\w-]+/locscope/blob/main/notebooks/{name}\.ipynb\)",
        first,
    )
    assert 'find_spec("locscope") is None:\n    %pip install -q "locscope[notebook]' in install


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_nothing_of_ours_but_locscope(name: str) -> None:
    found = {
        module
        for cell in code(name)
        for node in ast.walk(ast.parse(cell["source"]))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in (
            [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert found <= {"io", "os", "pathlib", "pandas", "torch", "transformers", "locscope"}


@pytest.mark.parametrize(
    "name",
    [
        *NAMES[:4],
        pytest.param(
            NAMES[4],
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not REAL.is_dir(), reason="needs SmolLM2 in LOCSCOPE_SMOLLM2"),
            ],
        ),
    ],
)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    # It would ask a host of the web whether there is one.
    monkeypatch.setattr("circuitsvis.utils.render.internet_on", lambda: False)
    small = dict(SMALL[name])
    if name == "03_search":
        small["MODEL"] = save_tiny(tmp_path / "tiny", "llama")
    before, names = dict(SCANS), dict[str, Any]()
    try:
        for cell in code(name):
            if "parameters" in cell["metadata"].get("tags", ()):
                run(cell["source"], names)
                names.update(small)
                continue
            shown = run(cell["source"], names)
            # What an expression shows is something; print gives None.
            assert shown is None or drawn(shown)
    finally:
        SCANS.clear()
        SCANS.update(before)
