"""What an answer is judged by: its probability, or its logit over that of another token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.errors import unknown
from locscope.forward.batching import in_batches
from locscope.forward.prompts import next_logits, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel

METRICS = {
    "probability": "probability of the answer",
    "logit-diff": "logit difference of answer and distractor",
}
"""Logits are those the model gives, soft-capped where it caps them."""


@dataclass(frozen=True)
class Rivalry:
    """A fact, and the token that its answer is held against."""

    fact: Fact
    distractor: int


@dataclass(frozen=True)
class TokenPair:
    """The first token of every row's answer, and the distractor that this is held against."""

    answer: Int[Tensor, " rows"]
    distractor: Int[Tensor, " rows"]


def token_pair_of(
    facts: Sequence[Fact], distractors: Sequence[int], device: torch.device
) -> TokenPair:
    """The token pairs of a row for every fact."""
    answers = [fact.answer[0] for fact in facts]
    return TokenPair(torch.tensor(answers, device=device), torch.tensor(distractors, device=device))


def metric_named(name: str, default: str) -> str:
    """The metric that an option names, or a scan's own; a UsageError for one that is not known."""
    chosen = default if name == "default" else name
    if chosen not in METRICS:
        raise unknown("metric", chosen, METRICS)
    return chosen


def value_of(
    metric: str, scored: Float[Tensor, "*runs rows vocabulary"], token_pair: TokenPair
) -> Float[Tensor, "*runs rows"]:
    """The metric of every row from its next-token logits, of any number of runs; gradients flow."""
    if metric == "logit-diff":
        return _of_tokens(scored, token_pair.answer) - _of_tokens(scored, token_pair.distractor)
    return log_probability(scored, token_pair.answer).exp()


def log_probability(
    scored: Float[Tensor, "*runs rows vocabulary"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, "*runs rows"]:
    """The log-probability of every row's token, in nats."""
    return _of_tokens(scored, tokens) - scored.logsumexp(-1)


def runner_up(
    scored: Float[Tensor, "rows vocabulary"], answer: Int[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """The best token beside the answer."""
    return scored.scatter(1, answer[:, None], -torch.inf).argmax(-1)


def rivalries(
    hooked: HookedModel, facts: Sequence[Fact], tokens_at_once: int = 16384
) -> tuple[Rivalry, ...]:
    """The facts, each with the untouched model's runner-up."""

    def run(some: Sequence[Fact]) -> list[Rivalry]:
        scored = next_logits(
            hooked.bridged, prompts_of(hooked.bridged, [fact.ids for fact in some])
        )
        answer = torch.tensor([fact.answer[0] for fact in some], device=scored.device)
        distractors = runner_up(scored, answer).tolist()
        return [
            Rivalry(fact, distractor) for fact, distractor in zip(some, distractors, strict=True)
        ]

    size = lambda fact: len(fact.ids)  # noqa: E731
    return tuple(in_batches(facts, run, size=size, tokens_at_once=tokens_at_once))


def _of_tokens(
    scored: Float[Tensor, "*runs rows vocabulary"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, "*runs rows"]:
    return scored[..., torch.arange(len(tokens), device=scored.device), tokens]
