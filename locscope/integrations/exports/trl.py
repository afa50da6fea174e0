"""Arguments of TRL's supervised fine-tuning (`trl sft --config`) with LoRA at the location.

It tunes all weights or low-rank factors; of the latter it takes the modules by name, and a full
path is one module of one layer.
"""

import yaml

from locscope.integrations.exports.about import (
    About,
    Export,
    leaves_of,
    parts_by_layer,
    why_not_whole,
)
from locscope.integrations.exports.peft import note_on_lora
from locscope.records import Recommendation
from locscope.records.trials import RANK

_HEADER = "# To add: dataset_name (prompt and completion, or messages)"
_NO_RATE = ", and learning_rate: none was measured with LoRA here"


def export(recommendation: Recommendation, about: About) -> Export:
    """The arguments; the rate is that of the trial with LoRA, where one ran."""
    location = recommendation.location
    reason = why_not_whole(location, about.family)
    if reason:
        return Export(reason=reason)
    measured = about.lora.trial.recipe if about.lora else None
    recipe, rank = measured or recommendation.best.recipe, (measured.rank if measured else 0)
    content = {
        "model_name_or_path": about.model,
        "output_dir": "edited-model",
        "use_peft": True,
        "lora_r": rank or RANK,
        # Equal to the rank, as in trials: a scale of 1.
        "lora_alpha": rank or RANK,
        "lora_dropout": 0.0,
        "lora_target_modules": [
            f"{about.family.blocks}.{layer}.{leaf}"
            for layer, parts in parts_by_layer(location).items()
            for part in parts
            for leaf in leaves_of(part, about.family)
        ],
        **({"learning_rate": recipe.lr} if measured else {}),
        "lr_scheduler_type": "constant",
        "num_train_epochs": float(recipe.epochs),
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": 1,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "completion_only_loss": True,
    }
    header = f"{_HEADER}{'' if measured else _NO_RATE}.\n"
    return Export(header + yaml.safe_dump(content, sort_keys=False), note_on_lora(about))
