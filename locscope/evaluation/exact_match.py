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
from locscope.forward.prefix_cache import Batch, PrefixCache, chunks

ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 5e-2, torch.float16: 6e-3}
"""At least twice as far as logits of cached decoding and of a full pass were seen apart, relative
to the largest logit: both of two may move (`tests/engine/test_reading.py` measures it)."""


@dataclass(frozen=True)
class Positions:
    """What one pass shows at each token of an answer and behind its last: the arg-max, whether the
    second best is too close to tell, the log-probability of the row's own token (nats)."""

    best: tuple[int, ...]
    close: tuple[bool, ...]
    logprob: tuple[float, ...]


@dataclass(frozen=True)
class Reading:
    """What one pass shows of each row's answer, on the CPU, in the order the rows were asked for.

    `said`: every answer token is the arg-max; `after`: the arg-max behind the answer; `sure`: no
    two best tokens too close in it; `token_accuracy` and `logprob` (mean nats per token) are
    teacher-forced, over the answer and, where the row has one, its stop token. `positions` has all
    of it token by token.
    """

    said: Bool[Tensor, " rows"]
    after: Int[Tensor, " rows"]
    sure: Bool[Tensor, " rows"]
    token_accuracy: Float[Tensor, " rows"]
    logprob: Float[Tensor, " rows"]
    positions: tuple[Positions, ...]


@torch.no_grad()
def read(prefix_cache: PrefixCache, rows: Sequence[int]) -> Reading:
    """Reads the given rows of the prefix cache's sheet in one pass from its layer on."""
    if not rows:
        return _blank()
    parts = list(chunks(prefix_cache.packed.lengths, rows, prefix_cache.tokens_at_once))
    found = [_read_batch(prefix_cache, prefix_cache.batch(part)) for part in parts]
    place = {row: i for i, row in enumerate(row for part in parts for row in part)}
    order = [place[row] for row in rows]
    columns = {
        name: torch.cat([getattr(one, name) for one in found]).cpu()[order]
        for name in ("said", "after", "sure", "token_accuracy", "logprob")
    }
    positions = [one for part in found for one in part.positions]
    return Reading(**columns, positions=tuple(positions[i] for i in order))


def _blank() -> Reading:
    flags, ids, numbers = torch.zeros(0, dtype=torch.bool), torch.zeros(0).long(), torch.zeros(0)
    return Reading(flags, ids, flags, numbers, numbers, ())


@dataclass(frozen=True)
class _Seen:
    """Of every position: the arg-max (the lowest id at a tie), whether the second best is too
    close to it, and the log-probability of the label."""

    best: Int[Tensor, " scored"]
    close: Bool[Tensor, " scored"]
    logprob: Float[Tensor, " scored"]


def _read_batch(prefix_cache: PrefixCache, batch: Batch) -> Reading:
    scored, count = batch.scored, batch.scored.shape[0]
    row, label = scored.nonzero()[:, 0], batch.labels[scored]
    seen = _see(prefix_cache, prefix_cache.final(batch)[scored], label)
    hit, labelled = seen.best == label, label != NO_LABEL
    last = torch.ones_like(row, dtype=torch.bool)
    last[:-1] = row[1:] != row[:-1]
    return Reading(
        said=_count(row, ~hit & ~last, count) == 0,
        after=seen.best[last],
        sure=_count(row, seen.close, count) == 0,
        token_accuracy=_mean(row, hit.float(), labelled, count),
        logprob=_mean(row, seen.logprob, labelled, count),
        positions=_by_row(seen, torch.bincount(row, minlength=count).tolist()),
    )


def _by_row(seen: "_Seen", counts: list[int]) -> tuple[Positions, ...]:
    columns = [x.cpu().split(counts) for x in (seen.best, seen.close, seen.logprob)]
    rows = zip(*columns, strict=True)
    return tuple(Positions(*(tuple(part.tolist()) for part in row)) for row in rows)


def _see(
    prefix_cache: PrefixCache, hidden: Float[Tensor, "scored width"], label: Int[Tensor, " scored"]
) -> _Seen:
    """Goes through the positions in pieces: all logits of a large vocabulary would be gigabytes."""
    pieces = zip(hidden.split(POSITIONS), label.split(POSITIONS), strict=True)
    seen = [_see_some(prefix_cache, *piece) for piece in pieces]
    return _Seen(
        best=torch.cat([one.best for one in seen]),
        close=torch.cat([one.close for one in seen]),
        logprob=torch.cat([one.logprob for one in seen]),
    )


def _see_some(
    prefix_cache: PrefixCache, hidden: Float[Tensor, "some width"], label: Int[Tensor, " some"]
) -> _Seen:
    scores = logits(prefix_cache.model, hidden)
    top = scores.topk(2, dim=-1).values
    rounding = ROUNDING[prefix_cache.model.dtype] * scores.abs().amax(-1)
    logprob = scores.log_softmax(-1).gather(1, label.clamp(min=0)[:, None])[:, 0]
    return _Seen(scores.argmax(-1), top[:, 0] - top[:, 1] <= rounding, logprob)


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
