"""Arguments of LLaMA-Factory's freeze tuning at the recommended location.

It tunes modules that lie directly under a layer (`freeze_trainable_modules`), in the last or the
first layers (`freeze_trainable_layers`, above or below 0): locations in between and single
matrices are unsupported.
"""

import yaml

from locscope.integrations.exports.about import About, Export, parts_by_layer
from locscope.locations import Location
from locscope.models.families import Family
from locscope.records import Recipe, Recommendation

_HEADER = "# To add: dataset (and dataset_dir), and the template that prompts are put in.\n"
_NOTE = (
    "Add your dataset and template. Its loss is a mean over tokens and it does not stop at a small "
    "one, so its numbers will not be those measured here."
)


def export(recommendation: Recommendation, about: About) -> Export:
    """The arguments, or why freeze tuning cannot do this."""
    best = recommendation.deployment or recommendation.best
    location = recommendation.location
    reason = _why_not_recipe(best.recipe) or _why_not_location(location, about.depth)
    if reason:
        return Export(reason=reason)
    by_layer = parts_by_layer(location)
    content = {
        "model_name_or_path": about.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "freeze",
        "freeze_trainable_layers": _count(by_layer, about.depth),
        "freeze_trainable_modules": _modules(by_layer[location.lowest], about.family),
        "output_dir": "edited-model",
        "learning_rate": best.recipe.lr,
        # Its default is linear decay; trials are tuned at one rate.
        "lr_scheduler_type": "constant",
        "num_train_epochs": float(best.recipe.epochs),
        "per_device_train_batch_size": best.recipe.batch,
        "gradient_accumulation_steps": 1,
        "weight_decay": 0.0,
        # 0 turns its clipping off: trials are not clipped either.
        "max_grad_norm": 0.0,
    }
    return Export(_HEADER + yaml.safe_dump(content, sort_keys=False), _NOTE)


def _count(by_layer: dict[int, tuple[str, ...]], depth: int) -> int:
    """The number of layers, positive for the last ones and negative for the first ones."""
    return len(by_layer) if max(by_layer) == depth - 1 else -len(by_layer)


def _modules(parts: tuple[str, ...], family: Family) -> str:
    module = {"block": "all", "mlp": family.mlp, "attn": family.attention}
    return ",".join(module[part] for part in parts)


def _why_not_location(location: Location, depth: int) -> str:
    by_layer = parts_by_layer(location)
    layers = list(by_layer)
    fine = [part for parts in by_layer.values() for part in parts if "." in part]
    if any(site.head is not None for site in location.sites):
        return "it tunes whole modules, not one head"
    if fine:
        return f"it tunes attention, MLP or whole layers, not {fine[0]} alone"
    if len(set(by_layer.values())) > 1:
        return "it tunes the same modules in every layer"
    first, last = list(range(len(layers))), list(range(depth - len(layers), depth))
    if layers not in (first, last):
        return f"it tunes the first or the last layers only, of 0 to {depth - 1}"
    return ""


def _why_not_recipe(recipe: Recipe) -> str:
    if recipe.kind != "full":
        return f"its freeze tuning has no recipe '{recipe.kind}'"
    if recipe.order != "breadth-first":
        return f"it does not tune {recipe.order}"
    if recipe.prefixes:
        return "it adds no random prefixes"
    if recipe.prompt_format != "raw":
        return f"its templates are not the prompt format '{recipe.prompt_format}'"
    return ""
