"""What single attention heads write, from the weights of the model's own output matrix."""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.parts import blocks, family_of


def head_matrices(
    model: PreTrainedModel, layer: int, heads: int
) -> Float[Tensor, "heads head_width width"]:
    """The rows of the output matrix that each of a layer's `heads` writes through."""
    family = family_of(model)
    weight = blocks(model)[layer].get_parameter(f"{family.leaves['attn.o']}.weight")
    weight = weight if family.transposed else weight.T
    return weight.reshape(heads, -1, weight.shape[-1])


def head_outputs(
    model: PreTrainedModel, layer: int, z: Float[Tensor, "batch seq heads head_width"]
) -> Float[Tensor, "batch seq heads width"]:
    """What every head adds to the attention's output (before any norm that follows it)."""
    return torch.einsum("bshd,hdw->bshw", z, head_matrices(model, layer, z.shape[2]).to(z))


def output_bias(model: PreTrainedModel, layer: int) -> Float[Tensor, " width"] | None:
    """What the attention's output has besides its heads."""
    module = blocks(model)[layer].get_submodule(family_of(model).leaves["attn.o"])
    return getattr(module, "bias", None)
