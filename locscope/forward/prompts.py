"""Prompts as one batch, and the model's states and logits at their last tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.batching import in_batches
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import Batch, pad


def prompts_of(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Batch:
    """The prompts as one batch on the model's device."""
    # The answer is yet to come: the only position that is scored is that of the last token.
    rows = [TokenRow(tuple(prompt), len(prompt)) for prompt in prompts]
    return pad(pack(rows), range(len(rows)), model.device)


def at_last(
    values: Float[Tensor, "prompts seq *rest"], last: Int[Tensor, " prompts"]
) -> Float[Tensor, "prompts *rest"]:
    """The values of every prompt at its last token."""
    return values[torch.arange(len(last), device=values.device), last]


@torch.no_grad()
def final_states(model: PreTrainedModel, prompts: Batch) -> Float[Tensor, "prompts width"]:
    """The last tokens' states behind the final norm."""
    return at_last(run_blocks(model, prompts.ids), prompts.last)


@torch.no_grad()
def next_logits(model: PreTrainedModel, prompts: Batch) -> Float[Tensor, "prompts vocabulary"]:
    """The next-token logits after every prompt."""
    return logits(model, final_states(model, prompts))


def top_tokens(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens_at_once: int = 16384
) -> list[int]:
    """The most likely token after every prompt."""

    def run(some: Sequence[Sequence[int]]) -> list[int]:
        return next_logits(model, prompts_of(model, some)).argmax(-1).tolist()

    return in_batches(prompts, run, size=len, tokens_at_once=tokens_at_once)
