"""What an ablation does to what the model says: measures of logits against those untouched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.engine.blocks import logits, run_blocks
from locscope.engine.corruption import at_last, padded
from locscope.engine.facts import Fact

_ROWS = 256
"""Rows of logits held at a time: of a large vocabulary they weigh more than all else."""


@dataclass(frozen=True)
class Base:
    """What the untouched model says after prompts: the log-probability of every token.

    `answer` is the token that scans follow, `rival` the best of the others.
    """

    logs: Float[Tensor, "prompts vocabulary"]
    answer: Int[Tensor, " prompts"]
    rival: Int[Tensor, " prompts"]


Measure = Callable[[Base, Float[Tensor, "places prompts vocabulary"]], Tensor]
"""From logits of ablated runs to (places, prompts, measures)."""


def drops(
    base: Base, scored: Float[Tensor, "places prompts vocabulary"]
) -> Float[Tensor, "places prompts 2"]:
    """How much the answer loses in probability, and in its logit over the untouched rival's."""
    return _standing(base, base.logs[None]) - _standing(base, scored)


def _standing(
    base: Base, scored: Float[Tensor, "places prompts vocabulary"]
) -> Float[Tensor, "places prompts 2"]:
    rows = torch.arange(scored.shape[1], device=scored.device)
    answer, rival = scored[:, rows, base.answer], scored[:, rows, base.rival]
    return torch.stack([(answer - scored.logsumexp(-1)).exp(), answer - rival], dim=-1)


def divergence(
    base: Base, scored: Float[Tensor, "places prompts vocabulary"]
) -> Float[Tensor, "places prompts 1"]:
    """KL(untouched || ablated) in nats; of logarithms, so that nothing has to be smoothed."""
    shift = base.logs - scored.log_softmax(-1)
    return (base.logs.exp() * shift).sum(-1, keepdim=True)


@torch.no_grad()
def base_of(model: PreTrainedModel, facts: Sequence[Fact]) -> Base:
    """One forward pass of the untouched model."""
    ids, last = padded([fact.ids for fact in facts], model.device)
    logs = logits(model, at_last(run_blocks(model, ids), last)).log_softmax(-1)
    answer = torch.tensor([fact.answer[0] for fact in facts], device=model.device)
    rival = logs.scatter(1, answer[:, None], -torch.inf).argmax(-1)
    return Base(logs, answer, rival)


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
