"""What `edit` saves is what was measured: same numbers after reloading, nothing else changed."""

import json
from math import ceil
from pathlib import Path

import pytest
import torch
import yaml
from families import save_tiny
from safetensors.torch import load_file
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import UsageError
from locscope.evaluation.measures import NEEDS_BASE, QUICK_DRIFT, QUICK_MEASURES
from locscope.progress import Silent
from locscope.scoring.objectives import BALANCED
from locscope.selection.candidates import LEARNS_IN_FULL
from locscope.settings import EditSettings, EvaluateSettings
from locscope.tuning.trial import gradient_l1
from locscope.workflows.early.edits import load_edits
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.evaluate import evaluate, evaluate_json, plan_evaluate
from locscope.workflows.publish import Found
from locscope.workflows.workspace import open_model, open_workspace

KINDS = ("llama", "gpt2", "gptneox", "phi3", "gemma3")


def tensors(folder: Path) -> dict:
    return {k: v for shard in folder.glob("*.safetensors") for k, v in load_file(shard).items()}


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("location", ["L1.mlp.down", "L1.attn.q+L2.mlp"])
def test_reloaded_numbers_are_those_of_the_trial(
    family: str, location: str, edits_file: Path, tmp_path: Path
) -> None:
    base, out = save_tiny(tmp_path / "base", family), tmp_path / "edited"
    settings = EditSettings(
        model=str(base), edits=str(edits_file), location=location, lr=5e-3, epochs=8
    )
    record = edit(plan_edit(settings, None, out), Silent())
    measures = evaluate(
        plan_evaluate(EvaluateSettings(model=str(out), edits=str(edits_file))), Silent()
    )
    for one in measures:
        assert one.value == pytest.approx(record.measure(one.name).value, rel=1e-6, nan_ok=True)
        assert one.count == record.measure(one.name).count
    _only_tuned_tensors_changed(base, out, record.parameters)


def _only_tuned_tensors_changed(base: Path, out: Path, parameters: tuple[str, ...]) -> None:
    before, after = tensors(base), tensors(out)
    changed = {k for k in before if not before[k].equal(after[k])}
    assert before.keys() == after.keys()
    assert len(changed) == len(parameters)
    assert all(any(name.endswith(k) or k.endswith(name) for name in parameters) for k in changed)
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            assert path.read_bytes() == (out / path.name).read_bytes(), path.name


@pytest.mark.parametrize("rate", [None, 5e-3])
def test_what_is_measured_decides_nothing_of_what_is_tuned(
    rate: float | None, edits_file: Path, tmp_path: Path
) -> None:
    base, records = save_tiny(tmp_path / "base", "llama"), {}
    for asked in ("full", "quick", "none"):
        settings = EditSettings(
            model=str(base),
            edits=str(edits_file),
            location="L1.mlp",
            lr=rate,
            epochs=4,
            evaluate=asked,
        )
        records[asked] = edit(plan_edit(settings, None, tmp_path / asked), Silent())
    full, quick, none = records.values()
    assert {m.name for m in quick.measures} == {*QUICK_MEASURES, *QUICK_DRIFT}
    for one in quick.measures[:3]:
        assert one.value == pytest.approx(full.measure(one.name).value, rel=1e-4, nan_ok=True)
    assert none.measures == none.outcomes == ()
    assert "How many of them it answers so was not measured" in card(tmp_path / "none")
    for record in (quick, none):
        assert record.trial.recipe == full.trial.recipe
        assert record.change_norm == pytest.approx(full.change_norm, rel=1e-4)
    whole = tensors(tmp_path / "full")
    for asked in ("quick", "none"):
        for name, values in tensors(tmp_path / asked).items():
            # Other texts beside a row change the order of its sums: nothing else differs.
            assert torch.allclose(values, whole[name], rtol=1e-3, atol=2e-6), name


def card(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_no_evaluate_is_evaluate_none(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    given = ["--model", str(tiny_dir), "--edits", str(edits_file), "--location", "L1.mlp"]
    given += ["--lr", "1e-3", "--epochs", "1", "--no-evaluate", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["edit", *given])
    assert result.exit_code == 0, result.output
    assert "locality" not in result.stdout
    result = CliRunner().invoke(app, ["edit", *given, "--evaluate", "quick"])
    assert result.exit_code == 2
    assert "--no-evaluate with --evaluate quick: give one of the two" in result.output


def test_without_a_rate_an_edit_starts_where_trials_of_a_search_do(
    edits_file: Path, tmp_path: Path
) -> None:
    """Of as many edits: the first step is predicted to do what there is to learn asks for."""
    base, out = save_tiny(tmp_path / "base", "llama"), tmp_path / "edited"
    settings = EditSettings(model=str(base), edits=str(edits_file), location="L1.mlp", epochs=4)
    trial = edit(plan_edit(settings, None, out), Silent()).trial
    workspace = open_workspace(settings, open_model(settings), load_edits(settings), Silent())
    steps = 4 * ceil(len(trial.edits) / trial.recipe.batch)
    lost = [-one.target.logprob for one in workspace.before.of(trial.edits).edits]
    first_step = LEARNS_IN_FULL * sum(lost) / len(lost) / steps
    norm = gradient_l1(workspace, trial)
    assert trial.recipe.lr == pytest.approx(first_step / norm, rel=0.01)


def test_edits_as_recommended(found: Found, edits_file: Path, tmp_path: Path) -> None:
    best = found.inputs.recommendation.best
    settings = EditSettings(model=found.inputs.run.settings["model"], edits=str(edits_file))
    record = edit(plan_edit(settings, found.folder, tmp_path / "edited"), Silent())
    assert record.trial.location == best.location
    assert record.trial.recipe == found.inputs.recommendation.recipe


def test_an_edit_as_recommended_keeps_the_objective_and_bounds_of_the_search(
    found: Found, edits_file: Path, tmp_path: Path
) -> None:
    settings = EditSettings(model=found.inputs.run.settings["model"], edits=str(edits_file))
    objective = plan_edit(settings, found.folder, tmp_path / "edited").objective
    assert (objective.name, objective.weights) == (BALANCED.name, BALANCED.weights)
    assert list(map(str, objective.bounds)) == list(map(str, BALANCED.bounds))
    file = tmp_path / "recommendation.yaml"
    own = yaml.safe_load((found.folder / "recommendation.yaml").read_text())
    own["locscope"]["bounds"] = ["perplexity_ratio<=1.3", "kl<=2 surely"]
    own["locscope"]["weights"]["locality"] = 2.0
    file.write_text(yaml.safe_dump(own))
    objective = plan_edit(settings, file, tmp_path / "edited").objective
    assert list(map(str, objective.bounds)) == ["perplexity_ratio<=1.3", "kl<=2 surely"]
    assert objective.weights["locality"] == 2.0
    for key, wrong in (("bounds", 3), ("bounds", ["kl"]), ("weights", {"locality": "much"})):
        file.write_text(yaml.safe_dump({**own, "locscope": {**own["locscope"], key: wrong}}))
        with pytest.raises(UsageError, match="bound" if key == "bounds" else "weights"):
            plan_edit(settings, file, tmp_path / "edited")


def test_without_a_base_what_needs_one_is_null(tiny_dir: Path, edits_file: Path) -> None:
    plan = plan_evaluate(EvaluateSettings(model=str(tiny_dir), edits=str(edits_file)))
    found = json.loads(evaluate_json(evaluate(plan, Silent())))
    assert found["schema"] == 1
    assert found["measures"]["perplexity_ratio"]["value"] is None
    assert found["measures"]["perplexity_ratio"]["reason"] == "needs a base"
    assert found["measures"]["reliability"]["value"] is not None


def test_a_changed_base_is_noticed(edits_file: Path, tmp_path: Path) -> None:
    base, out = save_tiny(tmp_path / "base", "llama"), tmp_path / "edited"
    settings = EditSettings(
        model=str(base), edits=str(edits_file), location="L0.attn", lr=1e-3, epochs=1
    )
    edit(plan_edit(settings, None, out), Silent())
    other = save_tiny(tmp_path / "other", "gpt2")
    for path in other.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="has changed since"):
        plan_evaluate(EvaluateSettings(model=str(out), edits=str(edits_file)))


def test_of_a_base_that_is_gone_what_needs_it_is_null_with_the_reason(
    edits_file: Path, tmp_path: Path
) -> None:
    base, out = save_tiny(tmp_path / "base", "llama"), tmp_path / "edited"
    settings = EditSettings(
        model=str(base), edits=str(edits_file), location="L0.attn", lr=1e-3, epochs=1
    )
    edit(plan_edit(settings, None, out), Silent())
    asked = EvaluateSettings(model=str(out))
    before = {one.name: one for one in evaluate(plan_evaluate(asked), Silent())}
    moved = base.rename(tmp_path / "moved")
    found = evaluate(plan_evaluate(asked), Silent())
    for name, plain in json.loads(evaluate_json(found))["measures"].items():
        if name in NEEDS_BASE:
            assert plain["value"] is None
            assert str(base) in plain["reason"]
            assert "--base" in plain["reason"]
    assert {one.name: one for one in found}["reliability"].value == before["reliability"].value
    named = evaluate(plan_evaluate(EvaluateSettings(model=str(out), base=str(moved))), Silent())
    assert {one.name: one.value for one in named if one.name in NEEDS_BASE} == pytest.approx(
        {name: one.value for name, one in before.items() if name in NEEDS_BASE}, nan_ok=True
    )
    # What is there and is no model is no base that is gone.
    base.mkdir()
    with pytest.raises(UsageError, match=r"cannot use the base recorded .*give --base"):
        plan_evaluate(asked)


def test_never_writes_over_anything(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    settings = EditSettings(model=str(tiny_dir), edits=str(edits_file), location="L0.attn")
    with pytest.raises(UsageError, match="is there already"):
        plan_edit(settings, None, tmp_path)


@pytest.mark.parametrize("name", ["neutral", "abilities"])
def test_files_of_texts_are_read_before_the_model_is(
    name: str, edits_file: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    settings = EditSettings(
        model=str(tmp_path), edits=str(edits_file), location="L1.mlp", **{name: missing}
    )
    # The folder holds no model, which would be said if it were read first.
    with pytest.raises(UsageError, match=f"cannot read {name}.*{missing}: No such file"):
        plan_edit(settings, None, None)
