"""Mixtures of experts: one expert tuned, given back, and saved; what else is left as it was."""

from pathlib import Path

import pytest
import torch
from families import ALL, MIXTURES, MORE, save_tiny

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.checkpoint import read_checkpoint
from locscope.models.load import load
from locscope.models.parts import grid, slices, take
from locscope.models.save import check_savable, save_edited
from locscope.records import Recipe
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import temporarily_trainable
from locscope.tuning.trainable import RecipeInput, tuned_parts_of

NO_IMPORTANCES = object.__new__(Importances)
"""These recipes do not ask for them."""
LOCATIONS = ("L1.mlp.expert2.down", "L1.mlp.expert3", "L1-2.mlp.down", "L2.block")


@pytest.mark.parametrize("family", list(MORE))
def test_what_was_saved_is_loaded(family: str, tmp_path: Path):
    save_tiny(tmp_path, family)
    loaded = load(str(tmp_path), device="cpu")
    expected = dict(ALL[family]().named_parameters())
    found = dict(loaded.model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("family", MIXTURES)
@pytest.mark.parametrize("recipe", ["full", "lora"])
def test_one_expert_is_tuned_and_everything_is_given_back(family: str, recipe: str):
    model = ALL[family]().to(torch.bfloat16).requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    where = Location.parse("L1.mlp.expert2.down")
    given = RecipeInput(model, where, Recipe(1e-3, 1, kind=recipe), 0, NO_IMPORTANCES)
    inside = slices(model, where)
    with temporarily_trainable(model, tuned_parts_of(given), torch.bfloat16) as masters:
        ids = torch.arange(3, 40)[None]
        model(ids).logits.float().logsumexp(-1).sum().backward()
        masters.collect_gradients()
        for value in masters.values:
            value.add_(1.0)
        masters.write_back()
        for name, now in model.named_parameters():
            changed = (now != before[name]).nonzero()
            mine = [piece for piece in inside if piece.name == name]
            assert bool(len(changed)) == bool(mine and (recipe == "full" or "bias" not in name))
            assert set(changed[:, 0].tolist()) <= {2}, "another expert has changed"
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


@pytest.mark.parametrize("family", MIXTURES)
@pytest.mark.parametrize("text", LOCATIONS)
def test_an_edited_mixture_is_saved_and_loaded(family: str, text: str, tmp_path: Path):
    base = save_tiny(tmp_path / "base", family)
    checkpoint, loaded = read_checkpoint(base), load(str(base), device="cpu")
    inside = slices(loaded.model, Location.parse(text))
    check_savable(checkpoint, [piece.name for piece in inside])
    draw = torch.Generator().manual_seed(0)
    changes = {piece: torch.randn(piece.count, generator=draw) for piece in inside}
    save_edited(checkpoint, tmp_path / "out", changes)
    saved, own = (
        load(str(tmp_path / "out"), device="cpu").model,
        dict(loaded.model.named_parameters()),
    )
    for name, value in saved.named_parameters():
        mine = [piece for piece in changes if piece.name == name]
        if not mine:
            assert torch.equal(value, own[name])
        for piece in mine:
            assert torch.equal(take(value, piece), changes[piece])
            rest = int((value != own[name]).sum())
            assert rest <= piece.count


def test_experts_are_named_by_hand_and_those_that_are_not_there_refused():
    model = ALL["deepseek"]()
    names = [cell.part for cell in grid(model) if cell.layer == 1]
    assert "mlp.shared.down" in names
    assert not any("expert" in name for name in names)
    for text, words in [
        ("L1.mlp.expert4", r"there is no expert 4, they are 0\.\.3"),
        (
            "L0.mlp.expert1",
            "has no part mlp.expert1 in layer 0, its parts are mlp.gate",
        ),
        ("L0-1.mlp.shared", "no part mlp.shared in layer 0"),
        ("L1.attn.h1", "the heads of deepseek_v3 are no rows of a weight"),
        ("L1.attn.q", "no part attn.q in layer 1"),
    ]:
        with pytest.raises(UsageError, match=words):
            slices(model, Location.parse(text))
    with pytest.raises(UsageError, match=r"parts are mlp.down, .*mlp.expert0..3 and their down"):
        slices(ALL["gptoss"](), Location.parse("L1.mlp.expert1.up"))


def test_recipes_of_single_matrices_are_refused():
    model = ALL["qwen3moe"]()
    where = Location.parse("L1.mlp.down")
    given = RecipeInput(model, where, Recipe(1e-3, 1, kind="half"), 0, NO_IMPORTANCES)
    with pytest.raises(UsageError, match="layer 1 is a mixture of experts"):
        tuned_parts_of(given)
