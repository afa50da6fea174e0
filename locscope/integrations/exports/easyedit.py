"""Hyperparameters of EasyEdit's FT at the recommended location.

Its FT tunes every parameter whose name contains `rewrite_module_tmp` with one of `layers` filled
in. Patterns end in a dot here, so that layer 1 does not match layers 10 to 19.
"""

import yaml

from locscope.integrations.exports.about import (
    About,
    Export,
    parts_by_layer,
    why_not_whole,
)
from locscope.models.families import Family
from locscope.records import Recommendation
from locscope.runs.recommendation import why_not_recipe

MAX_LENGTH = 40
"""Tokens of prompt and target, as in the hyperparameters that EasyEdit ships."""
HEAD = "lm_head"
"""The unembedding of every family there is a name for."""
_NOTE = (
    "Give all edits as one batch edit: one after the other is depth-first. Its targets have no end "
    "token, so its numbers will not be those measured here."
)


def export(recommendation: Recommendation, about: About) -> Export:
    """The hyperparameters, or why FT cannot do this."""
    best = recommendation.deployment or recommendation.best
    location = recommendation.location
    reason = why_not_recipe(best.recipe) or why_not_whole(location, about.family)
    if reason:
        return Export(reason=reason)
    by_layer = parts_by_layer(location)
    if len(set(by_layer.values())) > 1 or len(by_layer[location.lowest]) > 1:
        return Export(reason="it has one pattern of module names for all layers")
    (part,) = by_layer[location.lowest]
    content = {
        "alg_name": "FT",
        "model_name": about.model,
        "device": 0,
        "layers": list(by_layer),
        "num_steps": best.recipe.epochs,
        "batch_size": best.recipe.batch,
        "max_length": MAX_LENGTH,
        "lr": best.recipe.lr,
        # Its penalties and its bound on the change are off: trials are tuned without them.
        "weight_decay": 0,
        "kl_factor": 0,
        "norm_constraint": False,
        "objective_optimization": "target_new",
        "rewrite_module_tmp": _pattern(part, about.family),
        **_templates(about.family),
        "model_parallel": False,
    }
    return Export(yaml.safe_dump(content, sort_keys=False), _NOTE)


def _pattern(part: str, family: Family) -> str:
    modules = {"block": "", "mlp": f"{family.mlp}.", "attn": f"{family.attention}."}
    module = modules[part] if part in modules else f"{family.leaves[part]}."
    return f"{family.blocks}.{{}}.{module}"


def _templates(family: Family) -> dict[str, str]:
    layer = f"{family.blocks}.{{}}"
    return {
        "layer_module_tmp": layer,
        "mlp_module_tmp": f"{layer}.{family.mlp or family.leaves['mlp.down']}",
        "attn_module_tmp": f"{layer}.{family.attention}",
        "ln_f_module": family.final_norm,
        "lm_head_module": HEAD,
    }
