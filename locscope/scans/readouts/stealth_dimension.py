"""Stealth dimension: how selectively one prompt's answer could be changed at a layer.

Sutton et al., "Stealth edits to large language models" (arXiv 2406.12670, sections 3 and 4): the
MLP's input at a text's last token, normalised without the norm's gain and bias and divided by the
square root of the width, is a point x on the unit sphere (centred where the model's norm is). The
intrinsic dimension of such points,

    n(delta) = -1 - log2 P[(x - y) . y >= delta],   delta = 2 (1 - theta)^2 - 2,   theta = 0.005,

is high where two different texts are hardly ever near each other, so that a single one can be
singled out there; the rate at which others would be changed too is bounded by sqrt(P). Variants:
`prompts` takes P over all ordered pairs of the edits' prompts, `neutral` over those of the neutral
texts. Most neutral texts may end in the same full stop and be near each other for that alone, so
`neutral-drawn` cuts each at a token drawn from those behind the first, at most the hundredth, as
the paper's code does. A text that occurs twice counts once.

With N texts P cannot be told from less than 1 / (N (N - 1)): where no pair is near, the score is
the n of that, and the note says `at least`. The interval is a jackknife (each text left out once,
normal at 95 %); NaN where that leaves no near pair.
"""

from collections.abc import Iterator, Sequence
from math import log2, nan, sqrt

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.interp.states import last_states
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext
from locscope.scoring.statistics import Interval

THETA = 0.005
DELTA = 2 * (1 - THETA) ** 2 - 2
AT_ONCE = 1024
"""Texts whose products with all other texts are held at a time."""
LONGEST = 100
"""Tokens of a neutral text among which one is drawn."""
NORMAL_95 = 1.96


def scan(context: ScanContext) -> Findings:
    """Scores of the MLPs, from a pass over the edits' prompts and two over the neutral texts."""
    prompts = [questions.target.prompt for questions in context.suite.of(context.edits)]
    neutral = _neutral(context)
    samples = {
        "prompts": _once(prompts),
        "neutral": _once(neutral),
        "neutral-drawn": _once(_cut(neutral, context.seed)),
    }
    scores: list[ScanScore] = []
    notes: list[str] = []
    for variant, texts in samples.items():
        if len(texts) < 2:
            notes.append(f"{variant}: {len(texts)} texts, at least 2 are needed")
            continue
        near = list(_near_by_layer(context, texts))
        scores += _scores(variant, [dimension(layer) for layer in near])
        notes.append(_note(variant, near, len(texts)))
    sizes = ", ".join(f"{len(texts)} {variant}" for variant, texts in samples.items())
    return Findings(
        scores=tuple(scores),
        usable=len(prompts) if scores else 0,
        settings=f"theta {THETA}, last token, {sizes}",
        notes=tuple(notes),
    )


def _near_by_layer(
    context: ScanContext, texts: Sequence[tuple[int, ...]]
) -> Iterator[Int[Tensor, " texts"]]:
    states = last_states(context.hooked, "mlp_in", texts, context.progress, context.tokens_at_once)
    for inputs in states:
        # float64: whether a pair is near must not depend on the order of sums.
        yield near_pairs(inputs.double() / sqrt(inputs.shape[1]))


def near_pairs(points: Float[Tensor, "points width"]) -> Int[Tensor, " points"]:
    """The number of near ordered pairs of which each point is a member; a pair counts for both."""
    squares = points.square().sum(1)
    counts = torch.zeros(len(points), dtype=torch.long)
    for first in range(0, len(points), AT_ONCE):
        chunk = points[first : first + AT_ONCE]
        near = chunk @ points.T - squares >= DELTA
        # A point is no pair with itself.
        near[torch.arange(len(chunk)), torch.arange(first, first + len(chunk))] = False
        counts[first : first + len(chunk)] += near.sum(1)
        counts += near.sum(0)
    return counts


def dimension(near: Int[Tensor, " points"]) -> Interval:
    """n of the share of near pairs with its interval, from the near pairs of each point.

    Where no two points are near it is the n of one pair.
    """
    size, total = len(near), int(near.sum()) // 2
    if total == 0:
        return Interval(_n(1, size), nan, nan, size)
    value, left = _n(total, size), [total - pairs for pairs in near.tolist()]
    if size < 3 or min(left) == 0:
        return Interval(value, nan, nan, size)
    without = torch.tensor([_n(pairs, size - 1) for pairs in left], dtype=torch.float64)
    # By leaving points out one at a time: pairs share points, so they are no independent draws.
    error = sqrt((size - 1) * float(without.var(correction=0)))
    return Interval(value, value - NORMAL_95 * error, value + NORMAL_95 * error, size)


def _n(pairs: int, size: int) -> float:
    return -1 - log2(pairs / (size * (size - 1)))


def _once(texts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return list(dict.fromkeys(texts))


def _neutral(context: ScanContext) -> list[tuple[int, ...]]:
    packed = context.suite.packed
    spans = [packed.offsets[row : row + 2].tolist() for row in context.suite.neutral.texts]
    return [tuple(packed.ids[first:stop].tolist()) for first, stop in spans]


def _cut(texts: Sequence[tuple[int, ...]], seed: int) -> list[tuple[int, ...]]:
    """Every text up to a drawn token behind its first."""
    drawn = np.random.default_rng(seed)
    # At least two tokens: the first may be a beginning-of-text token, the same in all texts.
    return [text[: drawn.integers(2, min(len(text), LONGEST), endpoint=True)] for text in texts]


def _scores(variant: str, dimensions: Sequence[Interval]) -> list[ScanScore]:
    return [
        ScanScore(variant, layer, "mlp", n.value, low=n.low, high=n.high, count=n.count)
        for layer, n in enumerate(dimensions)
    ]


def _note(variant: str, near: Sequence[Int[Tensor, " texts"]], size: int) -> str:
    capped = [f"L{layer}" for layer, pairs in enumerate(near) if not pairs.any()]
    note = f"{variant}: {size} texts tell dimensions up to {_n(1, size):.1f}"
    return f"{note}; at least that in {', '.join(capped)}" if capped else note
