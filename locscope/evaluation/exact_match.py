"""Exact match without decoding: one pass tells which rows greedy decoding would answer as wanted.

Greedy decoding gives exactly the answer and then ends if and only if the arg-max at every answer
position, given the answer before it, is the answer's token, and what follows ends it. Rows in which
the two best tokens lie closer than cached decoding differs from a full pass are marked unsure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from locscope.forward.head import POSITIONS, logits
from locscope.forward.packed import NO_LABEL
from locscope.forward.prefix_cache import Batch, PrefixCache

ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 5e-2, torch.float16: 6e-3}
"""At least twice as far as logits of cached decoding and of a full pass were seen apart, relative
to the largest logit: both of two may move (`tests/evaluation/test_exact_match.py` measures it)."""


@dataclass(frozen=True)
class Reading:
    """What one pass shows of a row's answer.

    At each of its tokens and behind the last: the arg-max, whether the second best is too close to
    tell, and the log-probability (nats) of the row's own token. `token_accuracy` and `logprob`
    (mean nats per token) are teacher-forced, over the answer and, where the row has one, its stop
    token.
    """

    best: tuple[int, ...]
    close: tuple[bool, ...]
    logprobs: tuple[float, ...]
    token_accuracy: float
    logprob: float


@torch.no_grad()
def read(prefix_cache: PrefixCache, rows: Sequence[int]) -> tuple[Reading, ...]:
    """Reads these rows of the prefix cache in one pass from its layer on; in their order."""
    readings: dict[int, Reading] = {}
    for part in prefix_cache.batches(rows):
        readings.update(zip(part, _read_batch(prefix_cache, prefix_cache.batch(part)), strict=True))
    return tuple(readings[row] for row in rows)


def _read_batch(prefix_cache: PrefixCache, batch: Batch) -> list[Reading]:
    # A row's positions follow one another, in the order of the rows.
    scored, count = batch.scored, batch.scored.shape[0]
    row, label = scored.nonzero()[:, 0], batch.labels[scored]
    hidden = prefix_cache.final(batch)[scored]
    # In pieces: all logits of a large vocabulary would be gigabytes.
    pieces = zip(hidden.split(POSITIONS), label.split(POSITIONS), strict=True)
    # Kept are three numbers a position, not its logits.
    columns = zip(*(_see(prefix_cache, *piece) for piece in pieces), strict=True)
    best, close, logprob = (torch.cat(column) for column in columns)
    labelled = label != NO_LABEL
    counts = torch.bincount(row, minlength=count).tolist()
    by_row = ([part.tolist() for part in x.split(counts)] for x in (best, close, logprob))
    accuracies = _mean(row, (best == label).float(), labelled, count).tolist()
    logprobs = _mean(row, logprob, labelled, count).tolist()
    return [
        Reading(tuple(tokens), tuple(unsure), tuple(values), accuracy, mean)
        for tokens, unsure, values, accuracy, mean in zip(
            *by_row, accuracies, logprobs, strict=True
        )
    ]


def _see(
    prefix_cache: PrefixCache, hidden: Float[Tensor, "some width"], label: Int[Tensor, " some"]
) -> tuple[Int[Tensor, " some"], Bool[Tensor, " some"], Float[Tensor, " some"]]:
    """Of every position: the arg-max (the lowest id at a tie), whether the second best is too
    close to it, and the log-probability of the label."""
    scores = logits(prefix_cache.model, hidden)
    top = scores.topk(2, dim=-1).values
    rounding = ROUNDING[prefix_cache.model.dtype] * scores.abs().amax(-1)
    logprob = scores.log_softmax(-1).gather(1, label.clamp(min=0)[:, None])[:, 0]
    # argmax, as topk does not say which of equal logits comes first.
    return scores.argmax(-1), top[:, 0] - top[:, 1] <= rounding, logprob


def _count(
    row: Int[Tensor, " scored"], flag: Bool[Tensor, " scored"], count: int
) -> Int[Tensor, " batch"]:
    return torch.zeros(count, dtype=torch.long, device=row.device).index_add(0, row, flag.long())


def _mean(
    row: Int[Tensor, " scored"],
    value: Float[Tensor, " scored"],
    use: Bool[Tensor, " scored"],
    count: int,
) -> Float[Tensor, " batch"]:
    sums = value.new_zeros(count).index_add(0, row, value * use)
    return sums / _count(row, use, count)
