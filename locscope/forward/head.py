"""Next-token logits, in float32 at the speed of the model's precision; and the loss on answers."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.prefix_cache import Batch, PrefixCache
from locscope.models.parts import logit_scale

POSITIONS = 2048
"""Positions whose logits are held at a time: 1 GB of float32 at 128k tokens."""


def logits(
    model: PreTrainedModel, hidden: Float[Tensor, "*any width"]
) -> Float[Tensor, "*any vocabulary"]:
    """Next-token logits of final hidden states, summed in float32; scaled and soft-capped as the
    model's own are."""
    head: Any = model.get_output_embeddings()
    bias = None if getattr(head, "bias", None) is None else head.bias.float()
    if hidden.is_cuda and hidden.dtype == head.weight.dtype == torch.bfloat16:
        out = wide_product(hidden, head.weight)
        out = out if bias is None else out + bias
    else:
        out = F.linear(hidden.float(), head.weight.float(), bias)
    factor, cap = logit_scale(model)
    out = out if factor == 1 else factor * out
    return out if cap is None else cap * torch.tanh(out / cap)


def wide_product(
    hidden: Float[Tensor, "*any width"], weight: Float[Tensor, "out width"]
) -> Float[Tensor, "*any out"]:
    """hidden @ weight.T in float32, for hidden states and weights in bfloat16.

    Both factors are exact in float32 and sums are in float32 either way, so only the order of the
    sums differs from a product of both cast to float32, for which a GPU takes ten times as long.
    Gradients flow to the hidden states alone, and are rounded to bfloat16 on their way, as they are
    again when they arrive.
    """
    flat: Any = _Wide.apply(hidden.reshape(-1, hidden.shape[-1]), weight)
    return flat.view(*hidden.shape[:-1], len(weight))


def answer_losses(prefix_cache: PrefixCache, batch: Batch) -> Float[Tensor, " batch"]:
    """Mean negative log-probability (nats per token) of every row's answer, resumed from the prefix
    cache.

    Source: LocFT-BF code (`fine-tune.py`): the token mean is taken per example.
    """
    return _row_means(prefix_cache.model, prefix_cache.final(batch), batch)


@final
class _Wide(torch.autograd.Function):
    """The product of two matrices; the second one is frozen."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(hidden, weight.t())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        # None for the weight: the head is frozen.
        (gradient,), (weight,) = grad_outputs, ctx.saved_tensors
        return _product(gradient.to(weight.dtype), weight).to(weight.dtype), None


def _product(left: Tensor, right: Tensor) -> Tensor:
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _row_means(
    model: PreTrainedModel, hidden: Float[Tensor, "batch seq width"], batch: Batch
) -> Float[Tensor, " batch"]:
    answers, (count, length) = batch.answers, batch.ids.shape
    scores = logits(model, hidden.flatten(0, 1)[answers])
    losses = F.cross_entropy(scores, batch.labels.flatten()[answers], reduction="none")
    row = answers // length
    sums = losses.new_zeros(count).index_add(0, row, losses)
    return sums / losses.new_zeros(count).index_add(0, row, torch.ones_like(losses))
