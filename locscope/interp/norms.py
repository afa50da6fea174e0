"""The model's norms with their scale held: then they are linear, and what a sum of parts becomes is
the sum of what the parts become."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.blocks import run_blocks
from locscope.models.parts import blocks

Norm = Callable[[Float[Tensor, "rows width"]], Float[Tensor, "rows width"]]

_LARGE = 1e3
"""Beside the square of which the epsilon of any norm is lost in rounding."""


@dataclass(frozen=True)
class Held:
    """A norm of given vectors with its scale held: gain * (x - mean) * scale + bias.

    The mean is taken away where it is `centred`; `scale` is that of every row.
    """

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    centred: bool
    scale: Float[Tensor, "rows 1"]

    def part(self, value: Float[Tensor, "rows *parts width"]) -> Float[Tensor, "rows *parts width"]:
        """What a part of the vectors becomes, without the bias."""
        value = value - value.mean(-1, keepdim=True) if self.centred else value
        return value * self.gain * self.scale.view(-1, *[1] * (value.dim() - 1))


@torch.no_grad()
def held(norm: Norm, vectors: Float[Tensor, "rows width"]) -> Held:
    """A norm's scale on given vectors, found by asking the norm, whatever its family.

    A vector of equal ones and one of alternating signs tell whether it takes the mean away, and
    its gain; zeros tell its bias.
    """
    ones = torch.ones_like(vectors[0])
    signs = ones.clone()
    signs[1::2] = -1.0
    probes = _LARGE * torch.stack([0.0 * ones, ones, signs])
    bias, level, alternating = norm(probes).float()
    centred = bool((level - bias).abs().max() < 1e-2 * (alternating - bias).abs().max())
    gain = (alternating - bias) * signs.float()
    vectors = vectors.float()
    plain = (vectors - vectors.mean(-1, keepdim=True) if centred else vectors) * gain
    out = norm(vectors.to(probes)).float() - bias
    scale = (out * plain).sum(-1, keepdim=True) / plain.square().sum(-1, keepdim=True)
    return Held(gain, bias, centred, scale)


def final_norm(model: PreTrainedModel) -> Norm:
    """The norm behind the last block, as the model itself applies it."""

    def norm(vectors: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        # A text each: one text of so many tokens may be longer than the model has positions for.
        ids = torch.zeros(len(vectors), 1, dtype=torch.long, device=vectors.device)
        return run_blocks(model, ids, len(blocks(model)), vectors[:, None])[:, 0]

    return norm


def norm_after_attention(model: PreTrainedModel, layer: int) -> Norm | None:
    """The norm that attention's output passes before it is added (Gemma 2 and 3), if there is one.

    Where the MLP's norm has a name of its own, the one named after attention is attention's.
    """
    block = blocks(model)[layer]
    own = hasattr(block, "pre_feedforward_layernorm")
    return block.get_submodule("post_attention_layernorm") if own else None
