"""What an ablation does to what the model says: its logits compared with the untouched ones."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.head import logits
from locscope.forward.prompts import next_logits, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.metrics import METRICS, answers_of, runner_up, value_of

_ROWS = 256
"""Rows of logits held at a time: with a large vocabulary they outweigh all else."""

EffectFn = Callable[[Float[Tensor, "locations prompts vocabulary"]], Tensor]
"""From logits of ablated runs to (locations, prompts, effects); untouched logits are inside."""


def drops(model: PreTrainedModel, facts: Sequence[Fact]) -> EffectFn:
    """How much every fact's answer loses in each of `METRICS`; the distractor is the runner-up."""
    untouched = _log_probabilities(model, facts)
    answers = answers_of(facts, model.device)
    distractors = runner_up(untouched, answers)

    def effects(
        ablated: Float[Tensor, "locations prompts vocabulary"],
    ) -> Float[Tensor, "locations prompts 2"]:
        losses = [
            value_of(metric, untouched, answers, distractors)
            - value_of(metric, ablated, answers, distractors)
            for metric in METRICS
        ]
        return torch.stack(losses, dim=-1)

    return effects


def divergence(model: PreTrainedModel, facts: Sequence[Fact]) -> EffectFn:
    """KL(untouched || ablated) at the last token of every fact's prompt, in nats."""
    untouched = _log_probabilities(model, facts)

    def effects(
        ablated: Float[Tensor, "locations prompts vocabulary"],
    ) -> Float[Tensor, "locations prompts 1"]:
        # Of logarithms: a probability that underflows to zero needs no smoothing then.
        shift = untouched - ablated.log_softmax(-1)
        return (untouched.exp() * shift).sum(-1, keepdim=True)

    return effects


@torch.no_grad()
def effects_of(
    model: PreTrainedModel,
    states: Float[Tensor, "locations prompts width"],
    effects: EffectFn,
) -> Float[Tensor, "prompts locations effects"]:
    """The effects that final states show, on the CPU."""
    together = max(1, _ROWS // states.shape[1])
    values = [effects(logits(model, batch)).cpu() for batch in states.split(together)]
    return torch.cat(values).transpose(0, 1)


@torch.no_grad()
def _log_probabilities(
    model: PreTrainedModel, facts: Sequence[Fact]
) -> Float[Tensor, "prompts vocabulary"]:
    """The untouched model's log-probability of every next token, by one forward pass."""
    return next_logits(model, prompts_of(model, [fact.ids for fact in facts])).log_softmax(-1)
