"""What an ablation does to what the model says: measures of logits against those untouched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.head import logits
from locscope.forward.prompts import next_logits, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.metrics import METRICS, TokenPair, runner_up, value_of

_ROWS = 256
"""Rows of logits held at a time: of a large vocabulary they weigh more than all else."""


@dataclass(frozen=True)
class Base:
    """What the untouched model says after prompts: the log-probability of every token.

    The rival of an answer is its runner-up.
    """

    logs: Float[Tensor, "prompts vocabulary"]
    token_pair: TokenPair


Measure = Callable[[Base, Float[Tensor, "places prompts vocabulary"]], Tensor]
"""From logits of ablated runs to (places, prompts, measures)."""


def drops(
    base: Base, scored: Float[Tensor, "places prompts vocabulary"]
) -> Float[Tensor, "places prompts 2"]:
    """How much the answer loses in every one of `METRICS`."""
    lost = [
        value_of(metric, base.logs, base.token_pair) - value_of(metric, scored, base.token_pair)
        for metric in METRICS
    ]
    return torch.stack(lost, dim=-1)


def divergence(
    base: Base, scored: Float[Tensor, "places prompts vocabulary"]
) -> Float[Tensor, "places prompts 1"]:
    """KL(untouched || ablated) in nats; of logarithms, so that nothing has to be smoothed."""
    shift = base.logs - scored.log_softmax(-1)
    return (base.logs.exp() * shift).sum(-1, keepdim=True)


@torch.no_grad()
def base_of(model: PreTrainedModel, facts: Sequence[Fact]) -> Base:
    """One forward pass of the untouched model."""
    logs = next_logits(model, prompts_of(model, [fact.ids for fact in facts])).log_softmax(-1)
    answer = torch.tensor([fact.answer[0] for fact in facts], device=model.device)
    return Base(logs, TokenPair(answer, runner_up(logs, answer)))


@torch.no_grad()
def judged(
    model: PreTrainedModel,
    states: Float[Tensor, "places prompts width"],
    base: Base,
    measure: Measure,
) -> Float[Tensor, "prompts places measures"]:
    """The measures of final states, on the CPU."""
    together = max(1, _ROWS // states.shape[1])
    found = [measure(base, logits(model, some)).cpu() for some in states.split(together)]
    return torch.cat(found).transpose(0, 1)
