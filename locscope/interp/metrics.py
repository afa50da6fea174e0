"""Metrics of an answer: its probability, or its logit less that of a distractor."""

from collections.abc import Sequence

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


def answers_of(facts: Sequence[Fact], device: torch.device) -> Int[Tensor, " rows"]:
    """The first token of the answer of every row that is a fact."""
    return torch.tensor([fact.answer[0] for fact in facts], device=device)


def metric_named(name: str, default: str) -> str:
    """The metric that an option names, or a scan's own.

    Raises UsageError where there is no metric of that name.
    """
    chosen = default if name == "default" else name
    if chosen not in METRICS:
        raise unknown("metric", chosen, METRICS)
    return chosen


def value_of(
    metric: str,
    scored: Float[Tensor, "*runs rows vocabulary"],
    answers: Int[Tensor, " rows"],
    distractors: Int[Tensor, " rows"],
) -> Float[Tensor, "*runs rows"]:
    """The metric of every row from its next-token logits, of any number of runs; gradients flow.

    Answers and the distractors that they are compared with are first tokens.
    """
    if metric == "logit-diff":
        return _of_tokens(scored, answers) - _of_tokens(scored, distractors)
    return log_probability(scored, answers).exp()


def log_probability(
    scored: Float[Tensor, "*runs rows vocabulary"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, "*runs rows"]:
    """The log-probability of every row's token, in nats."""
    return _of_tokens(scored, tokens) - scored.logsumexp(-1)


def runner_up(
    scored: Float[Tensor, "rows vocabulary"], answer: Int[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """The best token other than the answer."""
    # Ruled out first, whether it is the best one or not.
    return scored.scatter(1, answer[:, None], -torch.inf).argmax(-1)


def runners_up(
    hooked: HookedModel, facts: Sequence[Fact], tokens_at_once: int = 16384
) -> dict[str, int]:
    """By edit, the untouched model's best token other than the fact's answer: its distractor."""

    def run(batch: Sequence[Fact]) -> list[int]:
        prompts = prompts_of(hooked.bridged, [fact.ids for fact in batch])
        scored = next_logits(hooked.bridged, prompts)
        answer = torch.tensor([fact.answer[0] for fact in batch], device=scored.device)
        return runner_up(scored, answer).tolist()

    size = lambda fact: len(fact.ids)  # noqa: E731
    tokens = in_batches(facts, run, size=size, tokens_at_once=tokens_at_once)
    return {fact.edit: token for fact, token in zip(facts, tokens, strict=True)}


def _of_tokens(
    scored: Float[Tensor, "*runs rows vocabulary"], tokens: Int[Tensor, " rows"]
) -> Float[Tensor, "*runs rows"]:
    # Indexed rather than gathered: the token of a row is the same in all runs.
    return scored[..., torch.arange(len(tokens), device=scored.device), tokens]
