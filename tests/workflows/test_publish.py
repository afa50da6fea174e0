"""A search leaves its recommendation in the words of other tools too."""

from dataclasses import replace
from pathlib import Path

import peft
import pytest
from families import FAMILIES, tiny

from locscope.integrations.exports import EXPORTS
from locscope.integrations.exports.easyedit import HEAD
from locscope.models.families import FAMILIES as KNOWN
from locscope.models.parts import slices
from locscope.records import Recipe
from locscope.workflows.publish import Found, about_of, named_family
from locscope.workflows.report import load_run


def test_a_run_has_exports_of_what_it_recommends(found: Found) -> None:
    home = found.folder / "exports"
    readme = (home / "README.txt").read_text()
    best = found.inputs.recommendation.best
    assert readme.startswith(f"{best.location} for other tools.")
    assert "LocFT's reference code; its keys " in readme
    for entry in EXPORTS.values():
        assert entry.title in readme
    config = peft.PeftConfig.from_pretrained(home / "peft")
    assert isinstance(config, peft.LoraConfig)
    assert config.base_model_name_or_path == found.inputs.run.model.name
    model = tiny("llama")
    model.name_or_path = config.base_model_name_or_path
    adapted = peft.get_peft_model(model, config).base_model.model
    modules = {name for name, module in adapted.named_modules() if hasattr(module, "lora_A")}
    wanted = slices(tiny("llama"), best.location)
    assert modules == {piece.name.removesuffix(".weight") for piece in wanted}


def test_a_search_without_lora_has_none_to_tell_of(found: Found) -> None:
    run = load_run(found.folder)
    plain = [record for record in run.trials if record.trial.recipe.kind != "lora"]
    about = about_of(run.run.model, run.recommendation, plain)
    assert about.lora is None
    assert about.depth == run.run.model.layers


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_names_are_those_of_the_model(family: str) -> None:
    model = tiny(family)
    assert model.config.model_type in KNOWN
    named = named_family(model.config.model_type)
    modules = {name for name, _ in model.named_modules()}
    under = {named.attention, named.mlp, *named.leaves.values()}
    wanted = {named.final_norm, HEAD, *(f"{named.blocks}.1.{one}" for one in under)}
    assert wanted <= modules


def test_the_best_lora_trial_is_told_of(found: Found) -> None:
    run = load_run(found.folder)
    location = run.recommendation.best.location
    on_s = [one for one in run.trials if one.trial.split == "S"]
    plain = next(one for one in on_s if one.trial.location == location)
    lora = [
        replace(plain, score=score, trial=replace(plain.trial, recipe=Recipe(lr, 8, kind="lora")))
        for score, lr in ((0.2, 1e-3), (0.6, 1e-4))
    ]
    others = [record for record in run.trials if record.trial.recipe.kind != "lora"]
    about = about_of(run.run.model, run.recommendation, (*others, *lora))
    assert about.lora is not None
    assert about.lora.score == 0.6


def test_of_lora_what_was_held_back_is_told(found: Found) -> None:
    run = load_run(found.folder)
    told = about_of(run.run.model, run.recommendation, run.trials).lora
    assert told is not None
    assert told.trial.split == "T"


def test_the_bundled_model_is_named_by_its_directory(found: Found) -> None:
    run = load_run(found.folder)
    demo = replace(run.run.model, name="demo")
    assert Path(about_of(demo, run.recommendation, ()).model).is_dir()
