"""A PEFT configuration of LoRA at the recommended location: what `peft.PeftConfig` reads.

Where all layers have the same modules they are in `layers_to_transform`. Otherwise, and in a model
with more than one list of layers (a vision tower), `target_modules` has the full name of every
module.
"""

import json

from locscope.integrations.exports.about import (
    About,
    Export,
    leaves_of,
    parts_by_layer,
    why_not_whole,
)
from locscope.locations import Location
from locscope.models.families import Family
from locscope.records import Recommendation
from locscope.records.trials import RANK


def export(recommendation: Recommendation, about: About) -> Export:
    """The configuration; it has no learning rate, and its note says whether LoRA was measured."""
    location = recommendation.location
    reason = why_not_whole(location, about.family)
    if reason:
        return Export(reason=reason)
    rank = (about.lora.trial.recipe.rank if about.lora else 0) or RANK
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": about.model,
        "inference_mode": False,
        "r": rank,
        # Equal to the rank, as in trials: a scale of 1.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": about.family.transposed,
        **_targets(location, about.family),
    }
    return Export(json.dumps(settings, indent=2) + "\n", note_on_lora(about))


def _targets(location: Location, family: Family) -> dict[str, list[str] | list[int] | str]:
    modules = {
        layer: [leaf for part in parts for leaf in leaves_of(part, family)]
        for layer, parts in parts_by_layer(location).items()
    }
    layers = list(modules)
    owner, _, pattern = family.blocks.rpartition(".")
    if "." not in owner and all(modules[layer] == modules[layers[0]] for layer in layers):
        return {
            "target_modules": modules[layers[0]],
            "layers_to_transform": layers,
            "layers_pattern": pattern,
        }
    return {
        "target_modules": [f"{family.blocks}.{n}.{leaf}" for n in layers for leaf in modules[n]]
    }


def note_on_lora(about: About) -> str:
    """Whether LoRA was measured at the location, and what it gave."""
    if about.lora is None:
        return (
            f"UNMEASURED: nothing was tuned with LoRA here. Rank and alpha {RANK} are PEFT's "
            "own; a learning rate has to be found."
        )
    recipe = about.lora.trial.recipe
    return (
        f"Measured: LoRA at this location had score {about.lora.score:.3f} "
        f"({about.lora.score_name}) at rate {recipe.lr:g}, batch {recipe.batch}, "
        f"on split {about.lora.trial.split}."
    )
