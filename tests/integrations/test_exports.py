"""Exports say exactly the recommended location, or why they cannot."""

import json
import re
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import transformers
import yaml
from families import tiny
from runs.test_recommendation import RECIPE, recommendation
from samples import trial_record

from locscope.errors import UsageError
from locscope.integrations import exports
from locscope.integrations.exports import (
    EXPORTS,
    About,
    Export,
    exported,
    write_exports,
)
from locscope.locations import Location
from locscope.models.families import FAMILIES
from locscope.models.parts import parts, slices
from locscope.workflows.publish import named_family

LAYERS = 12
EASYEDIT = {
    *("alg_name", "model_name", "device", "layers", "num_steps", "batch_size", "max_length", "lr"),
    *("weight_decay", "kl_factor", "norm_constraint", "objective_optimization"),
    *("rewrite_module_tmp", "layer_module_tmp", "mlp_module_tmp", "attn_module_tmp"),
    *("ln_f_module", "lm_head_module", "model_parallel"),
}
"""Keys of zjunlp/EasyEdit, hparams/FT/llama3-8b.yaml at 2e5791b; all but the last have no default
in FTHyperParams (easyeditor/models/ft/ft_hparams.py), or are in every file of that folder."""
LLAMA_FACTORY = {
    *("model_name_or_path", "stage", "do_train", "finetuning_type", "freeze_trainable_layers"),
    *("freeze_trainable_modules", "freeze_extra_modules", "dataset", "template", "output_dir"),
    *("learning_rate", "lr_scheduler_type", "num_train_epochs", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "weight_decay", "max_grad_norm"),
}
"""Arguments in hiyouga/LLaMA-Factory: FreezeArguments and FinetuningArguments
(src/llamafactory/hparams/finetuning_args.py), ModelArguments, DataArguments, examples/extras/
llama_pro/llama3_freeze_sft.yaml at 0926d81; the others are transformers.TrainingArguments."""
MODELS = {"llama": "llama", "gpt2": "gpt2", "gptneox": "gpt_neox", "phi3": "phi3", "qwen2": "qwen2"}
LOCATIONS = (
    *("L1.mlp.down", "L10.mlp.up", "L11.mlp", "L0.attn", "L1.block", "L3-5.attn.o", "L8-11.block"),
    *("L2.attn.q", "L0-3.mlp", "L4.attn.h3", "L1.mlp+L4.attn", "L1.mlp.up+L1.mlp.down"),
    *("L10-11.mlp+L10-11.attn", "L0-11.block", "L2.block+L2.mlp.up", "L1.mlp.down+L3.mlp.down"),
)


def about_of(family="llama", depth=LAYERS):
    return About(model="some/model", depth=depth, family=named_family(family))


def said(name, location, family="llama", recipe=RECIPE):
    return exported(name, recommendation(location, recipe), about_of(family))


def asked(model, location):
    """The parameters of a location, by the tuner's own account; a part of one is None."""
    found = slices(model, Location.parse(location))
    return None if any(one.axis is not None for one in found) else {one.name for one in found}


def has_parts(model, location):
    return all(site.part in parts(model) for site in Location.parse(location).sites)


@pytest.fixture(scope="module", params=sorted(MODELS))
def world(request):
    return MODELS[request.param], tiny(request.param, num_hidden_layers=LAYERS)


@pytest.mark.parametrize("location", LOCATIONS)
def test_peft_adapts_exactly_the_modules_of_the_location(world, location, tmp_path):
    family, model = world
    if not has_parts(model, location):
        pytest.skip("no such part")
    found, wanted = said("peft", location, family), asked(model, location)
    if wanted is None:
        assert found.reason
        return
    assert found.text
    matrices = {
        name.removesuffix(".weight")
        for name, weight in model.named_parameters()
        if name in wanted and weight.dim() == 2
    }
    assert matrices
    (tmp_path / "adapter_config.json").write_text(found.text)
    config = peft.PeftConfig.from_pretrained(tmp_path)
    assert isinstance(config, peft.LoraConfig)
    fresh = tiny(MODEL_OF[family], num_hidden_layers=LAYERS)
    fresh.name_or_path = "some/model"
    adapted = peft.get_peft_model(fresh, config)
    inner = adapted.base_model.model
    layers = {name for name, module in inner.named_modules() if hasattr(module, "lora_A")}
    assert layers == matrices
    tuned = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert len(tuned) == 2 * len(matrices)


MODEL_OF = {family: name for name, family in MODELS.items()}


@pytest.mark.parametrize("location", LOCATIONS)
def test_easyedit_picks_exactly_the_parameters_of_the_location(world, location):
    family, model = world
    if not has_parts(model, location):
        pytest.skip("no such part")
    found = said("easyedit", location, family)
    if found.reason:
        assert asked(model, location) is None or "+" in location
        return
    keys = yaml.safe_load(found.text)
    assert set(keys) == EASYEDIT
    picked = {
        name
        for name, _ in model.named_parameters()
        for layer in keys["layers"]
        if keys["rewrite_module_tmp"].format(layer) in name
    }
    assert picked == asked(model, location)
    modules = {name for name, _ in model.named_modules()}
    templates = [keys[name].format(0) for name in keys if name.endswith(("_tmp", "_module"))]
    assert {one.rstrip(".") for one in templates} <= modules


@pytest.mark.parametrize("location", LOCATIONS)
def test_llama_factory_frees_exactly_the_parameters_of_the_location(world, location):
    family, model = world
    if not has_parts(model, location):
        pytest.skip("no such part")
    found = said("llama_factory", location, family)
    if found.reason:
        assert location not in ("L11.mlp", "L8-11.block", "L0-3.mlp", "L0-11.block", "L0.attn")
        return
    keys = yaml.safe_load(found.text)
    assert set(keys) <= LLAMA_FACTORY
    assert keys["finetuning_type"] == "freeze"
    count, modules = keys["freeze_trainable_layers"], keys["freeze_trainable_modules"].split(",")
    freed = range(LAYERS - count, LAYERS) if count > 0 else range(-count)
    marks = [f".{n}.{'' if one == 'all' else one}" for n in freed for one in modules]
    picked = {name for name, _ in model.named_parameters() if any(mark in name for mark in marks)}
    assert picked == asked(model, location)


AXOLOTL = {
    *("base_model", "unfrozen_parameters", "train_on_inputs", "val_set_size", "output_dir"),
    *("sequence_len", "micro_batch_size", "gradient_accumulation_steps", "num_epochs"),
    *("learning_rate", "optimizer", "lr_scheduler", "warmup_steps", "weight_decay"),
    *("max_grad_norm", "sample_packing"),
}
"""Keys of axolotl's configuration reference."""
TRL = {
    *("model_name_or_path", "output_dir", "use_peft", "lora_r", "lora_alpha", "lora_dropout"),
    *("lora_target_modules", "learning_rate", "lr_scheduler_type", "num_train_epochs"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "weight_decay"),
    *("max_grad_norm", "completion_only_loss"),
}
"""Fields of TRL's ModelConfig and SFTConfig, and of transformers.TrainingArguments."""
TORCHTUNE = {
    *("lora_attn_modules", "apply_lora_to_mlp", "apply_lora_to_output", "lora_rank"),
    *("lora_alpha", "lora_dropout"),
}
"""What torchtune's builders of LoRA models take (torchtune.models.llama3.lora_llama3_8b)."""


@pytest.mark.parametrize("location", LOCATIONS)
def test_axolotl_unfreezes_exactly_the_parameters_of_the_location(world, location):
    family, model = world
    if not has_parts(model, location):
        pytest.skip("no such part")
    found = said("axolotl", location, family)
    if found.reason:
        assert asked(model, location) is None
        return
    keys = yaml.safe_load(found.text)
    assert set(keys) == AXOLOTL
    # As its freeze_layers_except does: each pattern against the start of every name.
    picked = {
        name
        for name, _ in model.named_parameters()
        if any(re.match(pattern, name) for pattern in keys["unfrozen_parameters"])
    }
    assert picked == asked(model, location)


@pytest.mark.parametrize("location", LOCATIONS)
def test_trl_adapts_the_modules_that_peft_does(world, location):
    family, model = world
    if not has_parts(model, location):
        pytest.skip("no such part")
    found, wanted = said("trl", location, family), said("peft", location, family)
    assert bool(found.reason) == bool(wanted.reason)
    if found.reason:
        return
    keys = yaml.safe_load(found.text)
    assert set(keys) == TRL - {"learning_rate"}, "nothing was tuned with LoRA, so no rate is known"
    assert "learning_rate: none was measured" in found.text
    matrices = {
        name.removesuffix(".weight")
        for name, weight in model.named_parameters()
        if name in asked(model, location) and weight.dim() == 2
    }
    assert set(keys["lora_target_modules"]) == matrices
    plain = {key: value for key, value in keys.items() if not key.startswith(("lora", "use", "c"))}
    plain.pop("model_name_or_path")
    arguments = transformers.TrainingArguments(**plain, use_cpu=True)
    assert arguments.per_device_train_batch_size == RECIPE.batch


@pytest.mark.parametrize(
    ("location", "attention", "mlp"),
    [
        ("L0-11.attn", ["q_proj", "k_proj", "v_proj", "output_proj"], False),
        ("L0-11.mlp", [], True),
        ("L0-11.block", ["q_proj", "k_proj", "v_proj", "output_proj"], True),
        ("L0-11.attn.q+L0-11.attn.v", ["q_proj", "v_proj"], False),
    ],
)
def test_torchtune_puts_lora_into_every_layer(location, attention, mlp):
    found = said("torchtune", location)
    assert isinstance(found, Export)
    keys = yaml.safe_load(found.text)
    assert set(keys["model"]) == TORCHTUNE
    assert keys["model"]["lora_attn_modules"] == attention
    assert keys["model"]["apply_lora_to_mlp"] is mlp
    assert set(keys) == {"model", "batch_size", "epochs", "gradient_accumulation_steps"}


@pytest.mark.parametrize(
    ("name", "location", "recipe", "why"),
    [
        ("llama_factory", "L5.block", {}, "the first or the last layers only, of 0 to 11"),
        ("llama_factory", "L11.mlp.down", {}, "not mlp.down alone"),
        ("llama_factory", "L11.attn.h1", {}, "not one head"),
        ("llama_factory", "L11.mlp", {"kind": "half"}, "no recipe 'half'"),
        ("llama_factory", "L11.mlp", {"order": "depth-first"}, "does not tune depth-first"),
        ("llama_factory", "L10.attn+L11.mlp", {}, "same modules in every layer"),
        ("llama_factory", "L11.mlp", {"prefixes": 2}, "no random prefixes"),
        ("llama_factory", "L11.mlp", {"prompt_format": "chat"}, "prompt format 'chat'"),
        ("easyedit", "L1.mlp+L2.attn", {}, "one pattern"),
        ("easyedit", "L1.mlp", {"prefixes": 3, "kind": "soft"}, "no such recipe (kind, prefixes)"),
        ("easyedit", "L1.attn.h2", {}, "not one head"),
        ("peft", "L1.attn.h2", {}, "not one head"),
        ("trl", "L1.attn.h2", {}, "not one head"),
        ("axolotl", "L1.attn.h2", {}, "not one head"),
        ("axolotl", "L1.mlp", {"kind": "half"}, "no such recipe (kind)"),
        ("torchtune", "L5.mlp", {}, "the same modules of every layer, 0 to 11"),
        ("torchtune", "L0-11.mlp.down", {}, "the whole MLP, not mlp.down alone"),
    ],
)
def test_what_a_tool_cannot_say_is_said(name, location, recipe, why):
    found = said(name, location, recipe=replace(RECIPE, **recipe))
    assert found.reason
    assert why in found.reason


def test_a_module_shared_by_parts_cannot_be_said():
    for name in ("peft", "easyedit"):
        found = said(name, "L1.attn.k", "gpt2")
        assert found.reason
        assert "attn.q and attn.k and attn.v are one module here (attn.c_attn)" in found.reason


def test_another_tower_with_layers_of_its_own_is_left_alone():
    found = said("peft", "L1.mlp.down", "gemma3")
    assert found.text
    assert json.loads(found.text)["target_modules"] == [
        "model.language_model.layers.1.mlp.down_proj"
    ]


def test_lora_is_called_unmeasured_unless_it_ran():
    found = said("peft", "L2.mlp.down")
    assert found.text
    assert found.note.startswith("UNMEASURED")
    record = trial_record("L2.mlp.down")
    recipe = replace(record.trial.recipe, kind="lora", rank=4)
    record = replace(record, trial=replace(record.trial, recipe=recipe))
    ran = replace(about_of(), lora=record)
    found = exported("peft", recommendation("L2.mlp.down"), ran)
    assert found.text
    assert "score 0.750" in found.note
    assert "UNMEASURED" not in found.note
    assert json.loads(found.text)["r"] == json.loads(found.text)["lora_alpha"] == 4


def test_rate_batch_and_epochs_are_those_recommended():
    easyedit = yaml.safe_load(said("easyedit", "L11.mlp").text)
    assert (easyedit["lr"], easyedit["batch_size"], easyedit["num_steps"]) == (5e-4, 30, 25)
    factory = yaml.safe_load(said("llama_factory", "L11.mlp").text)
    assert factory["learning_rate"] == 5e-4
    assert (factory["per_device_train_batch_size"], factory["num_train_epochs"]) == (30, 25)


def test_files_and_a_readme_are_written_and_stale_ones_removed(tmp_path):
    write_exports(tmp_path, recommendation("L0-11.mlp"), about_of(), first="First of all.")
    home = tmp_path / "exports"
    assert all((home / entry.file).is_file() for entry in EXPORTS.values())
    write_exports(tmp_path, recommendation("L5.mlp.down"), about_of(), first="First of all.")
    readme = (home / "README.txt").read_text()
    assert not (home / "llama_factory.yaml").exists()
    assert "not written, as it tunes attention, MLP or whole layers" in readme
    assert "First of all." in readme
    assert "UNMEASURED" in readme


def test_every_entry_says_what_it_is():
    for name, entry in EXPORTS.items():
        assert entry.name == name
        assert entry.title
        assert entry.source
        made = said(name, "L0-11.mlp")
        assert isinstance(made, Export)
        assert made.text
        assert entry.file


def test_every_family_has_names():
    for family, entry in FAMILIES.items():
        # Experts are no modules, so that no pattern of names picks one.
        assert bool(named_family(family).leaves) == (not entry.experts)


def test_an_unknown_tool_gets_near_names():
    with pytest.raises(UsageError, match="did you mean peft"):
        exported("pefd", recommendation(), about_of())


def test_every_file_has_an_entry():
    files = {path.stem for path in Path(exports.__file__).parent.glob("*.py")}
    assert files - {"__init__", "about"} == {
        entry.function.partition(":")[0].rpartition(".")[2] for entry in EXPORTS.values()
    }
