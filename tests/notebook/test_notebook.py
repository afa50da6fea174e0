"""The notebook's objects, and the notebooks themselves."""

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from families import save_tiny

from locscope import notebook

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_a_run_shows_itself_and_its_figures(tmp_path: Path) -> None:
    rows = [{"prompt": f"a{i} is", "target": "b", "subject": f"s{i}"} for i in range(12)]
    (tmp_path / "edits.json").write_text(json.dumps(rows))
    model = save_tiny(tmp_path / "tiny", "llama")
    settings = {
        "model": str(model), "edits": str(tmp_path / "edits.json"), "parts": ("mlp.down",),
        "epochs": 2, "repetitions": 2,
    }  # fmt: skip
    run = notebook.search(tmp_path / "run", **settings)
    again = notebook.load(tmp_path / "run")
    assert again.recommendation is not None
    assert run.recommendation is not None
    assert again.recommendation.sentence == run.recommendation.sentence
    assert run.recommendation.best.location in run._repr_mimebundle_()["text/plain"]
    assert isinstance(again.figures["score"], go.Figure)
    assert set(again.trials["location"]) >= {"L0.mlp.down", "L2.mlp.down"}


def test_scans_are_added_to_and_shown(tmp_path: Path) -> None:
    rows = [{"prompt": f"a{i} is", "target": "b", "subject": f"a{i}"} for i in range(4)]
    (tmp_path / "edits.json").write_text(json.dumps(rows))
    model = save_tiny(tmp_path / "tiny", "llama")
    shared = {"model": str(model), "edits": str(tmp_path / "edits.json")}
    notebook.scan(tmp_path / "run", scans=["depth-rule"], **shared)
    run = notebook.scan(tmp_path / "run", scans=["head-ablation"], **shared)
    assert set(run.scores["scan"]) == {"depth-rule", "head-ablation"}
    assert "Head ablation" in run._repr_mimebundle_()["text/plain"]
    assert all(isinstance(figure, go.Figure) for figure in run.figures.values())
    assert len(run.figures) > 2


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code
    exec("\n".join(code), {})
