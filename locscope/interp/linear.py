"""Linear maps from components to the residual stream: output matrices of heads, and norms.

A norm whose scale is frozen is linear up to its bias: what becomes of a sum of parts is the sum of
what becomes of the parts.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.blocks import run_blocks
from locscope.models.parts import blocks, family_of

Norm = Callable[[Float[Tensor, "rows width"]], Float[Tensor, "rows width"]]

_LARGE = 1e3
"""Size of the vectors that probe a norm: beside its square any norm's epsilon is rounded away."""


def head_matrices(
    model: PreTrainedModel, layer: int, heads: int
) -> Float[Tensor, "heads head_width width"]:
    """The rows of the output matrix through which each of a layer's `heads` writes."""
    family = family_of(model)
    weight = blocks(model)[layer].get_parameter(f"{family.leaves['attn.o']}.weight")
    # GPT-2's Conv1D stores (in, out), nn.Linear (out, in).
    weight = weight if family.transposed else weight.T
    return weight.reshape(heads, -1, weight.shape[-1])


def head_outputs(
    model: PreTrainedModel, layer: int, z: Float[Tensor, "batch seq heads head_width"]
) -> Float[Tensor, "batch seq heads width"]:
    """What every head adds to the attention's output (before any norm that follows it)."""
    return torch.einsum("bshd,hdw->bshw", z, head_matrices(model, layer, z.shape[2]).to(z))


def output_bias(model: PreTrainedModel, layer: int) -> Float[Tensor, " width"] | None:
    """The bias of the attention's output matrix, if it has one."""
    module = blocks(model)[layer].get_submodule(family_of(model).leaves["attn.o"])
    return getattr(module, "bias", None)


@torch.no_grad()
def frozen_norm(norm: Norm, vectors: Float[Tensor, "rows width"]) -> Norm:
    """A norm with its scale on given vectors frozen, without its bias: gain * (x - mean) * scale.

    It tells what becomes of parts (rows, *parts, width) of the vectors. Found by calling the norm,
    whatever its family: a vector of ones and one of alternating signs tell whether it subtracts the
    mean, and what its gain is.
    """
    signs = _probes(vectors)[2].sign()
    bias, level, alternating = norm(_probes(vectors)).float()
    # A norm that subtracts the mean maps equal ones to its bias.
    centred = bool((level - bias).abs().max() < 1e-2 * (alternating - bias).abs().max())
    gain = (alternating - bias) * signs.float()

    def scaled(value: Float[Tensor, "rows *parts width"]) -> Float[Tensor, "rows *parts width"]:
        return (value - value.mean(-1, keepdim=True) if centred else value) * gain

    plain, out = scaled(vectors.float()), norm(vectors).float() - bias
    # Least squares over the width: in half precision no single entry tells the scale exactly.
    scale = (out * plain).sum(-1, keepdim=True) / plain.square().sum(-1, keepdim=True)
    return lambda value: scaled(value) * scale.view(-1, *[1] * (value.dim() - 1))


@torch.no_grad()
def norm_bias(norm: Norm, vectors: Float[Tensor, "rows width"]) -> Float[Tensor, " width"]:
    """The bias of a norm of such vectors: what it makes of zeros."""
    return norm(_probes(vectors))[0].float()


def _probes(vectors: Float[Tensor, "rows width"]) -> Float[Tensor, "3 width"]:
    """Zeros, equal numbers and numbers of alternating signs."""
    # Probed, not read off its code: families write their norms in many ways.
    ones = torch.ones_like(vectors[0])
    signs = ones.clone()
    signs[1::2] = -1.0
    return _LARGE * torch.stack([0.0 * ones, ones, signs])


def final_norm(model: PreTrainedModel) -> Norm:
    """The norm behind the last block, as the model itself applies it."""

    def norm(vectors: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        # One text per vector: a single text of all may be longer than the model has positions.
        ids = torch.zeros(len(vectors), 1, dtype=torch.long, device=vectors.device)
        return run_blocks(model, ids, len(blocks(model)), vectors[:, None])[:, 0]

    return norm


def norm_after_attention(model: PreTrainedModel, layer: int) -> Norm | None:
    """The norm of the attention's output before it is added (Gemma 2 and 3, OLMo 2), if any."""
    block = blocks(model)[layer]
    # Elsewhere `post_attention_layernorm` is the norm before the MLP; where there is one behind the
    # MLP too, the one named after attention is behind attention.
    own = hasattr(block, "post_feedforward_layernorm")
    return block.get_submodule("post_attention_layernorm") if own else None
