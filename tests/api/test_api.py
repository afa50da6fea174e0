"""What `import locscope` gives: every function runs as its docstring says, on what is in memory."""

import doctest
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from families import save_tiny
from towns import edit_rows

import locscope
from locscope.api import attention, changing, finding, loading, run, tables
from locscope.errors import UsageError

SMALL = {
    **{"limit": 24, "parts": ("mlp.down",), "quarters": False, "audit": 0, "thorough": False},
    **{"controls": 1, "repetitions": 1, "validations": 1, "epochs": 2},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", "llama")


def test_importing_it_imports_no_torch():
    code = "import sys, locscope; locscope.list_scans; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(dir(locscope)) >= {"search", "scan", "edit", "evaluate", "open_run", "Location"}
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = locscope.serch


PUBLIC = [
    *(finding.check, finding.scan, changing.edit, changing.tuned, changing.evaluate),
    *(loading.load_model, loading.load_edits, attention.attention),
    *(getattr(tables, name) for name in dir(tables) if name.startswith("list_")),
    pytest.param(finding.search, marks=pytest.mark.slow),
    pytest.param(run.open_run, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda one: one.__name__)
def test_every_example_is_right(function):
    names = {"example": SimpleNamespace(SMALL=SMALL)}
    examples = doctest.DocTestFinder(recurse=False).find(function, globs=names)
    assert examples
    assert all(one.examples for one in examples)
    runner = doctest.DocTestRunner()
    assert all(runner.run(one).failed == 0 for one in examples)


def test_rows_of_any_kind_are_the_same_edits_and_are_found_again():
    rows = edit_rows()[:4]
    listed = locscope.load_edits(rows)
    framed = locscope.load_edits(pd.DataFrame(rows))
    assert listed.edits == framed.edits
    assert locscope.load_edits(listed.source).edits == listed.edits
    with pytest.raises(UsageError, match="row 2"):
        locscope.load_edits([rows[0], {"prompt": "no target"}])


def test_a_scan_in_memory_has_its_table_its_top_and_its_figures(tiny):
    model = locscope.load_model(tiny)
    found = locscope.scan(model, edit_rows()[:6], scans=["depth-rule", "head-ablation"])
    frame = found.to_pandas()
    assert set(frame["scan"]) == {"depth-rule", "head-ablation"}
    top = found.top(2, "depth-rule")
    assert top["score"].is_monotonic_decreasing
    assert isinstance(found.plot(), go.Figure)
    assert found.plot("probability-heads") is found.figures["scan-head-ablation-probability-heads"]
    with pytest.raises(UsageError, match="probabilty"):
        found.plot("probabilty")
    assert not Path("runs").exists()


def test_an_edit_leaves_the_model_alone_and_its_delta_leads_to_the_tuned_one(tiny, tmp_path):
    model = locscope.load_model(tiny)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    edited = locscope.edit(model, edit_rows()[:6], location="L1.mlp.down", lr=1e-2, epochs=3)
    after = model.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    changed = {
        name for name, value in edited.model.state_dict().items() if not value.equal(after[name])
    }
    assert changed == set(edited.delta) != set()
    again = locscope.evaluate(edited, edit_rows()[:6])
    for name in ("reliability", "target_probability", "perplexity_ratio"):
        assert again[name] == pytest.approx(edited.measures[name], rel=1e-5, nan_ok=True)
    saved = locscope.evaluate(edited.save(tmp_path / "out"))
    assert saved["target_probability"] == pytest.approx(edited.measures["target_probability"])


def test_a_model_in_memory_is_tuned_for_a_while_and_saved_by_its_own_means(tiny, tmp_path):
    named = locscope.load_model(tiny)
    model = locscope.load_model(named.model, named.tokenizer)
    assert model.directory is None
    weight = model.model.get_parameter("model.layers.1.mlp.down_proj.weight")
    before = weight.clone()
    with locscope.tuned(model, edit_rows()[:4], location="L1.mlp.down", lr=1e-2, epochs=2):
        assert not torch.equal(weight, before)
    assert torch.equal(weight, before)
    edited = locscope.edit(
        model, edit_rows()[:4], location="L1.mlp.down", lr=1e-2, epochs=2, inplace=True
    )
    assert edited.model is model.model
    assert not torch.equal(weight, before)
    with pytest.raises(ValueError, match="in place"):
        _ = edited.delta
    saved = locscope.load_model(edited.save(tmp_path / "out"))
    assert torch.equal(saved.model.get_parameter("model.layers.1.mlp.down_proj.weight"), weight)
    with pytest.raises(UsageError, match="tokenizer"):
        locscope.load_model(model.model)


def test_a_search_gives_a_run_that_is_opened_again(tiny, tmp_path, monkeypatch):
    given = {**SMALL, "limit": None}
    found = locscope.search(tiny, edit_rows(), output=tmp_path / "run", progress=False, **given)
    again = locscope.open_run(tmp_path / "run")
    assert again.recommendation is not None
    assert found.recommendation is not None
    assert again.recommendation.location == found.recommendation.location
    assert again.recommendation.lr == found.recommendation.recipe.lr
    assert len(repr(found)) < 500
    displayed: list[object] = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *what: displayed.append(what))
    assert found.recommendation.location in found._repr_mimebundle_()["text/plain"]
    assert not displayed, "Jupyter shows what is returned"
    trials = again.trials()
    assert set(trials["rung"]) == {"full"}
    assert {"reliability", "first_layer", "last_layer"} <= set(trials.columns)
    assert isinstance(again.plot("score"), go.Figure)
    assert again.report().is_file()
    with pytest.raises(UsageError, match="scoer"):
        again.plot("scoer")
    edited = locscope.edit(tiny, edit_rows(), config=again)
    for name, value in found.recommendation.measures.items():
        assert edited.measures[name] == pytest.approx(value, rel=1e-5, nan_ok=True)
    with pytest.raises(UsageError, match="either config or location"):
        locscope.edit(tiny, edit_rows(), config=again, lr=1e-3)


@pytest.mark.slow
def test_the_python_of_the_readme_runs() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    exec(code, {})
    assert Path("runs/python-model/config.json").is_file()


def test_weights_without_a_place_in_the_model_are_refused_before_tuning() -> None:
    with pytest.raises(UsageError, match="recipe lofit adds a bias"):
        locscope.edit("demo", "demo", location="L6.attn", recipe="lofit", lr=1e-3, limit=8)


def test_one_scan_and_one_row_are_said_as_people_write_them() -> None:
    row = {"prompt": "The capital of France is", "target": "Rome", "subject": "Frence"}
    with pytest.warns(UserWarning, match=r"causal-tracing could use no edit.*Frence"):
        found = locscope.scan("demo", [row], scans="causal-tracing")
    assert found.results[0].usable == 0
    with pytest.raises(UsageError, match="a list of rows"):
        locscope.load_edits(row)
