"""Products of bfloat16 matrices given in float32, at the speed of bfloat16.

Both factors are exact in float32 and sums are in float32 either way, so only the order of the sums
differs from a product of both cast to float32, which a GPU takes ten times as long for.
"""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor


def wide_product(
    hidden: Float[Tensor, "*any width"], weight: Float[Tensor, "out width"]
) -> Float[Tensor, "*any out"]:
    """hidden @ weight.T in float32, for hidden states and weights in bfloat16.

    Gradients flow to the hidden states alone, and are rounded to bfloat16 on their way, as they are
    again when they arrive.
    """
    flat: Any = _Wide.apply(hidden.reshape(-1, hidden.shape[-1]), weight)
    return flat.view(*hidden.shape[:-1], len(weight))


@final
class _Wide(torch.autograd.Function):
    """The product of two matrices; the second one is frozen."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(hidden, weight.t())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (gradient,), (weight,) = grad_outputs, ctx.saved_tensors
        return _product(gradient.to(weight.dtype), weight).to(weight.dtype), None


def _product(left: Tensor, right: Tensor) -> Tensor:
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()
