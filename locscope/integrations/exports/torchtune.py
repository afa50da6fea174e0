"""Overrides for torchtune's LoRA recipes, where the location is in every layer.

Its builders put factors into the same modules of all layers (`lora_attn_modules`,
`apply_lora_to_mlp`): locations in some layers, and single matrices of the MLP, are unsupported.
"""

import yaml

from locscope.integrations.exports.about import About, Export, parts_by_layer
from locscope.integrations.exports.peft import note_on_lora
from locscope.locations import ATTENTION_PARTS, Location
from locscope.records import Recommendation
from locscope.records.trials import RANK

MODULES = dict(zip(ATTENTION_PARTS, ("q_proj", "k_proj", "v_proj", "output_proj"), strict=True))
"""What its attention calls the parts, in every model."""
_HEADER = "# Overrides for a config of lora_finetune_single_device: set model._component_ there.\n"


def export(recommendation: Recommendation, about: About) -> Export:
    """The overrides, or why its builders cannot do this."""
    location = recommendation.location
    reason = _why_not(location, about.depth)
    if reason:
        return Export(reason=reason)
    (parts,) = set(parts_by_layer(location).values())
    whole = bool({"attn", "block"} & set(parts))
    recipe = about.lora.trial.recipe if about.lora else recommendation.best.recipe
    rank = (recipe.rank if about.lora else 0) or RANK
    content = {
        "model": {
            "lora_attn_modules": [MODULES[p] for p in ATTENTION_PARTS if whole or p in parts],
            "apply_lora_to_mlp": bool({"mlp", "block"} & set(parts)),
            "apply_lora_to_output": False,
            "lora_rank": rank,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
        },
        "batch_size": recipe.batch,
        "epochs": recipe.epochs,
        "gradient_accumulation_steps": 1,
        **({"optimizer": {"lr": recipe.lr, "weight_decay": 0.0}} if about.lora else {}),
    }
    return Export(_HEADER + yaml.safe_dump(content, sort_keys=False), note_on_lora(about))


def _why_not(location: Location, depth: int) -> str:
    by_layer = parts_by_layer(location)
    if any(site.head is not None for site in location.sites):
        return "it takes whole modules, not one head"
    if list(by_layer) != list(range(depth)) or len(set(by_layer.values())) > 1:
        return f"its LoRA is in the same modules of every layer, 0 to {depth - 1}"
    fine = [part for part in by_layer[0] if part.startswith("mlp.")]
    return f"it takes the whole MLP, not {fine[0]} alone" if fine else ""
