"""Prompts as one batch, and what a model holds and says behind their last tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.batching import in_batches
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits


@dataclass(frozen=True)
class Prompts:
    """Prompts padded on the right, and the index of each one's last token."""

    ids: Int[Tensor, "prompts seq"]
    last: Int[Tensor, " prompts"]


def prompts_of(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Prompts:
    """The prompts as one batch on the model's device."""
    rows = [torch.as_tensor(list(prompt)) for prompt in prompts]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    last = torch.tensor([len(row) - 1 for row in rows])
    return Prompts(ids.to(model.device), last.to(model.device))


def at_last(
    values: Float[Tensor, "prompts seq *rest"], last: Int[Tensor, " prompts"]
) -> Float[Tensor, "prompts *rest"]:
    """The values of every prompt at its last token."""
    return values[torch.arange(len(last), device=values.device), last]


@torch.no_grad()
def final_states(model: PreTrainedModel, prompts: Prompts) -> Float[Tensor, "prompts width"]:
    """The last tokens' states behind the final norm."""
    return at_last(run_blocks(model, prompts.ids), prompts.last)


@torch.no_grad()
def next_logits(model: PreTrainedModel, prompts: Prompts) -> Float[Tensor, "prompts vocabulary"]:
    """What the model says after every prompt."""
    return logits(model, final_states(model, prompts))


def top_tokens(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens_at_once: int = 16384
) -> list[int]:
    """The token that the model puts first after every prompt."""

    def run(some: Sequence[Sequence[int]]) -> list[int]:
        return next_logits(model, prompts_of(model, some)).argmax(-1).tolist()

    return in_batches(prompts, run, size=len, tokens_at_once=tokens_at_once)
