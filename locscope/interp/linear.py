"""Linear maps from components to the residual stream: output matrices of heads, and norms.

A norm whose scale is frozen is linear up to its bias: what becomes of a sum of parts is the sum of
what becomes of the parts.
"""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class FrozenNorm:
    """A norm whose scale on given vectors is frozen: gain * (x - mean) * scale + bias.

    The mean is subtracted where `centred`; `scale` has one value per row.
    """

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    centred: bool
    scale: Float[Tensor, "rows 1"]

    def part(self, value: Float[Tensor, "rows *parts width"]) -> Float[Tensor, "rows *parts width"]:
        """What becomes of a part of the vectors, without the bias."""
        value = value - value.mean(-1, keepdim=True) if self.centred else value
        return value * self.gain * self.scale.view(-1, *[1] * (value.dim() - 1))


@torch.no_grad()
def frozen_norm(norm: Norm, vectors: Float[Tensor, "rows width"]) -> FrozenNorm:
    """Freezes a norm's scale on given vectors, found by calling the norm, whatever its family.

    A vector of ones and one of alternating signs tell whether the norm subtracts the mean, and what
    its gain is; zeros tell its bias.
    """
    # Probed, not read off its code: families write their norms in many ways.
    ones = torch.ones_like(vectors[0])
    signs = ones.clone()
    signs[1::2] = -1.0
    probes = _LARGE * torch.stack([0.0 * ones, ones, signs])
    bias, level, alternating = norm(probes).float()
    # A norm that subtracts the mean maps equal ones to its bias.
    centred = bool((level - bias).abs().max() < 1e-2 * (alternating - bias).abs().max())
    gain = (alternating - bias) * signs.float()
    vectors = vectors.float()
    plain = (vectors - vectors.mean(-1, keepdim=True) if centred else vectors) * gain
    out = norm(vectors.to(probes)).float() - bias
    # Least squares over the width: in half precision no single entry tells the scale exactly.
    scale = (out * plain).sum(-1, keepdim=True) / plain.square().sum(-1, keepdim=True)
    return FrozenNorm(gain, bias, centred, scale)


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
