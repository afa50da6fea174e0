"""Stealth dimension: could one prompt's answer be changed at this layer with few others noticing?

Sutton et al., "Stealth edits to large language models" (arXiv 2406.12670, sections 3 and 4): the
MLP's input at a text's last token, normalised without the norm's gain and bias and divided by the
square root of the width, is a point x on the unit sphere (centred where the model's norm is). The
intrinsic dimension of such points,

    n(delta) = -1 - log2 P[(x - y) . y >= delta],   delta = 2 (1 - theta)^2 - 2,   theta = 0.005,

is high where two different texts are hardly ever near each other, so that a single one can be
picked out there; the rate at which others would be hit is bounded by sqrt(P). Variants: `prompts`
takes P over all ordered pairs of the edits' prompts, `neutral` over those of the neutral texts.
Where most of these end in the same full stop they are near each other for that alone, so that
`neutral-drawn` cuts each at a token drawn from those behind the first, at most the hundredth, as
the paper's code does. A text that stands there twice counts once.

With N texts P cannot be told below 1 / (N (N - 1)): where no pair is near, the score is the n of
that, and the note says `at least`. The interval is a jackknife (each text left out once, normal at
95 %); NaN where that leaves no near pair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2, nan, sqrt

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.interp.states import last_states
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext

THETA = 0.005
DELTA = 2 * (1 - THETA) ** 2 - 2
AT_ONCE = 1024
"""Texts whose products with all others are held at a time."""
LONGEST = 100
"""Tokens of a neutral text among which one is drawn."""
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Dimension:
    """The intrinsic dimension of points with its interval; `capped`: no two are near."""

    value: float
    low: float
    high: float
    capped: bool


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
        found = list(_dimensions(context, texts))
        scores += [
            ScanScore(
                variant, layer, "mlp", one.value, low=one.low, high=one.high, count=len(texts)
            )
            for layer, one in enumerate(found)
        ]
        notes.append(_note(variant, found, len(texts)))
    sizes = ", ".join(f"{len(texts)} {variant}" for variant, texts in samples.items())
    return Findings(
        scores=tuple(scores),
        usable=len(prompts) if scores else 0,
        settings=f"theta {THETA}, last token, {sizes}",
        notes=tuple(notes),
    )


def _dimensions(context: ScanContext, texts: Sequence[tuple[int, ...]]) -> Iterator[Dimension]:
    states = last_states(context.hooked, "mlp_in", texts, context.progress, context.tokens_at_once)
    for inputs in states:
        # float64: whether a pair is near must not depend on the order of sums.
        points = inputs.double() / sqrt(inputs.shape[1])
        yield dimension(near_pairs(points))


def near_pairs(points: Float[Tensor, "points width"]) -> Int[Tensor, " points"]:
    """For every point, in how many near ordered pairs of two points it is; each counts for both."""
    squares = points.square().sum(1)
    found = torch.zeros(len(points), dtype=torch.long)
    for first in range(0, len(points), AT_ONCE):
        some = points[first : first + AT_ONCE]
        near = some @ points.T - squares >= DELTA
        near[torch.arange(len(some)), torch.arange(first, first + len(some))] = False
        found[first : first + len(some)] += near.sum(1)
        found += near.sum(0)
    return found


def dimension(near: Int[Tensor, " points"]) -> Dimension:
    """n of the share of near pairs, from the pairs that each point is in."""
    size, total = len(near), int(near.sum()) // 2
    if total == 0:
        return Dimension(_n(1, size), nan, nan, capped=True)
    value, left = _n(total, size), [total - pairs for pairs in near.tolist()]
    if size < 3 or min(left) == 0:
        return Dimension(value, nan, nan, capped=False)
    without = torch.tensor([_n(pairs, size - 1) for pairs in left], dtype=torch.float64)
    error = sqrt((size - 1) * float(without.var(correction=0)))
    return Dimension(value, value - NORMAL_95 * error, value + NORMAL_95 * error, capped=False)


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
    return [text[: drawn.integers(2, min(len(text), LONGEST), endpoint=True)] for text in texts]


def _note(variant: str, found: Sequence[Dimension], size: int) -> str:
    capped = [f"L{layer}" for layer, one in enumerate(found) if one.capped]
    most = _n(1, size)
    told = f"{variant}: {size} texts tell dimensions up to {most:.1f}"
    return f"{told}; at least that in {', '.join(capped)}" if capped else told
