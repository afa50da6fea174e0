"""`edit --recipe`: every kind is saved as it was measured, or refused before anything runs."""

from pathlib import Path

import pytest
from families import save_tiny

from locscope.errors import UsageError
from locscope.progress import Silent
from locscope.settings import EditSettings, EvaluateSettings, settings_of
from locscope.tuning.recipes import RECIPES
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.evaluate import evaluate, plan_evaluate
from locscope.workflows.listing import listing


def settings(base: Path, edits_file: Path, kind: str, **more) -> EditSettings:
    given = {"model": str(base), "edits": str(edits_file), "location": "L1.mlp", "epochs": 4}
    return settings_of(EditSettings, {**given, "recipe": kind, **more})


@pytest.mark.parametrize("kind", RECIPES)
def test_reloaded_numbers_are_those_of_the_trial(
    kind: str, edits_file: Path, tmp_path: Path
) -> None:
    """GPT-2's attention has the bias that `lofit` folds into."""
    base, out = save_tiny(tmp_path / "base", "gpt2"), tmp_path / "edited"
    record = edit(plan_edit(settings(base, edits_file, kind, lr=5e-3), None, out), Silent())
    assert record.trial.recipe.kind == kind
    found = evaluate(
        plan_evaluate(EvaluateSettings(model=str(out), edits=str(edits_file))), Silent()
    )
    for one in found:
        assert one.value == pytest.approx(record.measure(one.name).value, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("kind", ["half", "soft"])
def test_without_a_rate_the_recipe_s_own_gradient_tells(
    kind: str, tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    record = edit(plan_edit(settings(tiny_dir, edits_file, kind), None, tmp_path / "out"), Silent())
    whole = edit(plan_edit(settings(tiny_dir, edits_file, "full"), None, tmp_path / "o"), Silent())
    assert record.trial.recipe.lr > whole.trial.recipe.lr


def test_what_cannot_be_saved_is_refused(tiny_dir: Path, edits_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"lofit adds a bias to model.layers.1.self_attn.o_proj"):
        plan_edit(settings(tiny_dir, edits_file, "lofit", lr=1e-2), None, out)
    assert not out.exists()


@pytest.mark.parametrize("kind", ["lora", "lofit"])
def test_where_no_gradient_tells_the_rate_it_must_be_given(
    kind: str, tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="give --lr"):
        plan_edit(settings(tiny_dir, edits_file, kind), None, tmp_path / "out")


def test_an_unknown_recipe_is_refused(tiny_dir: Path, edits_file: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'lorra': did you mean lora"):
        settings(tiny_dir, edits_file, "lorra")


def test_recipes_are_listed_with_their_notes() -> None:
    assert [name for name, _ in listing("recipes")] == list(RECIPES)
    assert all(note for _, note in listing("recipes"))
