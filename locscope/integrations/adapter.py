"""The low-rank change that recipe `lora` found, as an adapter that PEFT loads.

`peft.PeftModel.from_pretrained(base, folder)` puts it on the base model. What a trial measures and
`edit` saves are merged weights, rounded to the dtype on disk; the adapter has the factors in
float32, so its logits differ by that rounding.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.parts import Slice, family_of
from locscope.runs.files import explained, write_atomic, write_atomic_with

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Factors = tuple[Slice, Tensor, Tensor]
"""A slice of a matrix with A (rank, inputs) and B (outputs, rank) of its change B A."""


def write_adapter(
    folder: Path, model: PreTrainedModel, factors: Sequence[Factors], base: str
) -> tuple[Path, Path]:
    """Writes the configuration and the weights; `base` is the model as PEFT can load it.

    Raises UsageError where the disk refuses.
    """
    transposed = family_of(model).transposed
    tensors: dict[str, Tensor] = {}
    for piece, a, b in factors:
        module = piece.name.removesuffix(".weight")
        whole = _padded(model.get_parameter(piece.name), piece, a, b, transposed=transposed)
        for side, tensor in zip("AB", whole, strict=True):
            tensors[f"base_model.model.{module}.lora_{side}.weight"] = tensor.contiguous()
    # All pairs of a trial have the same rank.
    rank = factors[0][1].shape[0]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        # Equal to the rank, as in trials: a scale of 1.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "target_modules": [piece.name.removesuffix(".weight") for piece, _, _ in factors],
    }
    with explained(f"write the adapter into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic_with(folder / WEIGHTS, lambda path: save_file(tensors, path))
        # Last: a folder with it is taken for an adapter.
        write_atomic(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    return folder / CONFIG, folder / WEIGHTS


def _padded(
    weight: Tensor, piece: Slice, a: Tensor, b: Tensor, *, transposed: bool
) -> tuple[Float[Tensor, "rank inputs"], Float[Tensor, "outputs rank"]]:
    """The factors of the whole matrix, which are zero outside of the slice."""
    a, b = a.detach().float().cpu(), b.detach().float().cpu()
    if piece.axis is None:
        return a, b
    rows = torch.cat([torch.arange(first, last) for first, last in piece.ranges])
    # An output of a transposed matrix is a column of it.
    of_outputs = (piece.axis == 0) != transposed
    size = weight.shape[piece.axis]
    if of_outputs:
        return a, torch.zeros(size, b.shape[1]).index_copy(0, rows, b)
    return torch.zeros(a.shape[0], size).index_copy(1, rows, a), b
