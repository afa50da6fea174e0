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
from locscope.interp.hooked_model import Lens

METRICS = {
    "probability": "probability of the answer",
    "logit-diff": "logit difference of answer and foil",
}
"""Logits are those the model gives, soft-capped where it caps them."""


@dataclass(frozen=True)
class Rivalry:
    """A fact, and the token that its answer is held against."""

    fact: Fact
    foil: int


@dataclass(frozen=True)
class Rivals:
    """The first token of every row's answer, and the foil that this is held against."""

    answer: Int[Tensor, " rows"]
    foil: Int[Tensor, " rows"]


def rivals_of(facts: Sequence[Fact], foils: Sequence[int], device: torch.device) -> Rivals:
    """The rivals of a row for every fact."""
    answers = [fact.answer[0] for fact in facts]
    return Rivals(torch.tensor(answers, device=device), torch.tensor(foils, device=device))


def metric_named(name: str, default: str) -> str:
    """The metric that an option names, or a scan's own; a UsageError for one that is not known."""
    chosen = default if name == "default" else name
    if chosen not in METRICS:
        raise unknown("metric", chosen, METRICS)
    return chosen


def value_of(
    metric: str, scored: Float[Tensor, "*runs rows vocabulary"], rivals: Rivals
) -> Float[Tensor, "*runs rows"]:
    """The metric of every row from its next-token logits, of any number of runs; gradients flow."""
    if metric == "logit-diff":
        return _of_tokens(scored, rivals.answer) - _of_tokens(scored, rivals.foil)
    return log_probability(scored, rivals.answer).exp()


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
    lens: Lens, facts: Sequence[Fact], tokens_at_once: int = 16384
) -> tuple[Rivalry, ...]:
    """The facts, each with the untouched model's runner-up."""

    def run(some: Sequence[Fact]) -> list[Rivalry]:
        scored = next_logits(lens.twin, prompts_of(lens.twin, [fact.ids for fact in some]))
        answer = torch.tensor([fact.answer[0] for fact in some], device=scored.device)
        foils = runner_up(scored, answer).tolist()
        return [Rivalry(fact, foil) for fact, foil in zip(some, foils, strict=True)]

    size = lambda fact: len(fact.ids)  # noqa: E731
    return tuple(in_batches(facts, run, size=size, tokens_at_once=tokens_at_once))


def _of_tokens(
    scored: Float[Tensor, "*runs rows vocabulary"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, "*runs rows"]:
    return scored[..., torch.arange(len(tokens), device=scored.device), tokens]
