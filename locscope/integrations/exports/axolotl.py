"""A configuration of axolotl's full fine-tuning with all but the recommended location frozen.

Its `unfrozen_parameters` are regular expressions that are matched from the start of a parameter's
name; what none matches is frozen.
"""

import re

import yaml

from locscope.integrations.exports.about import (
    About,
    Export,
    prefixes_of,
    why_not_whole,
)
from locscope.records import Recommendation
from locscope.runs.recommendation import why_not_recipe

_HEADER = "# To add: datasets (path and type), and sequence_len as your texts need.\n"
_NOTE = (
    "Add your data set. Its loss is a mean over all tokens of a batch and it does not stop at a "
    "small one, so its numbers will not be those measured here."
)


def export(recommendation: Recommendation, about: About) -> Export:
    """The configuration, or why it cannot be expressed there."""
    best = recommendation.deployment or recommendation.best
    location, recipe = recommendation.location, best.recipe
    reason = why_not_recipe(recipe) or why_not_whole(location, about.family)
    if reason:
        return Export(reason=reason)
    prefixes = prefixes_of(location, about.family)
    content = {
        "base_model": about.model,
        "unfrozen_parameters": [f"^{re.escape(prefix)}" for prefix in prefixes],
        "train_on_inputs": False,
        "val_set_size": 0.0,
        "output_dir": "./edited-model",
        "sequence_len": 512,
        "micro_batch_size": recipe.batch,
        "gradient_accumulation_steps": 1,
        "num_epochs": recipe.epochs,
        "learning_rate": recipe.lr,
        # Trials are tuned by Adam at one rate, without decay and clipping.
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "sample_packing": False,
    }
    return Export(_HEADER + yaml.safe_dump(content, sort_keys=False), _NOTE)
