"""What patching and ablating are judged by: a number made of the logits behind a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.engine.blocks import logits, run_blocks
from locscope.engine.corruption import at_last, padded
from locscope.engine.facts import Fact
from locscope.engine.lens import Lens
from locscope.engine.memory import in_batches
from locscope.errors import unknown

METRICS = {
    "logit-diff": "logit difference of answer and foil",
    "probability": "probability of the answer",
}
"""Logits are those the model gives, soft-capped where it caps them."""


@dataclass(frozen=True)
class Asked:
    """Prompts padded on the right, the index of their last token, and the tokens of interest."""

    ids: Int[Tensor, "rows seq"]
    last: Int[Tensor, " rows"]
    answer: Int[Tensor, " rows"]
    foil: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Rivalry:
    """A fact, and the token that its answer is held against."""

    fact: Fact
    foil: int


def asked(
    lens: Lens, rivals: Sequence[Rivalry], prompts: Sequence[Sequence[int]] | None = None
) -> Asked:
    """Facts as one batch on the model's device, with other prompts where there are some."""
    device = lens.twin.device
    ids, last = padded([one.fact.ids for one in rivals] if prompts is None else prompts, device)
    answer = torch.tensor([one.fact.answer[0] for one in rivals], device=device)
    return Asked(ids, last, answer, torch.tensor([one.foil for one in rivals], device=device))


def metric_named(name: str) -> str:
    """The metric that an option names, the logit difference by default; a UsageError otherwise."""
    chosen = "logit-diff" if name == "default" else name
    if chosen not in METRICS:
        raise unknown("metric", chosen, METRICS)
    return chosen


def measured(
    lens: Lens, rows: Asked, final: Float[Tensor, "rows seq width"], metric: str
) -> Float[Tensor, " rows"]:
    """The metric of every row, from its final hidden states; gradients flow."""
    scored = logits(lens.twin, at_last(final, rows.last))
    answer = scored.gather(1, rows.answer[:, None])[:, 0]
    if metric == "logit-diff":
        return answer - scored.gather(1, rows.foil[:, None])[:, 0]
    return (answer - scored.logsumexp(-1)).exp()


@torch.no_grad()
def rivalries(
    lens: Lens, facts: Sequence[Fact], tokens_at_once: int = 16384
) -> tuple[Rivalry, ...]:
    """The facts with the untouched model's best token other than the answer."""

    def run(some: Sequence[Fact]) -> list[Rivalry]:
        rows = asked(lens, [Rivalry(fact, fact.answer[0]) for fact in some])
        scored = logits(lens.twin, at_last(run_blocks(lens.twin, rows.ids), rows.last))
        best = scored.scatter(1, rows.answer[:, None], -torch.inf).argmax(-1).tolist()
        return [Rivalry(fact, token) for fact, token in zip(some, best, strict=True)]

    size = lambda fact: len(fact.ids)  # noqa: E731
    return tuple(in_batches(facts, run, size=size, tokens_at_once=tokens_at_once))
