"""Weight gradient: the gradient of the edits' loss at every part of every layer, untuned.

Variants of the gradient of the edits' mean loss: `norm` (Euclidean), `l1` (times a learning rate it
is the change of loss that Adam's first step predicts), `relative-norm` (over the norm of the
weights), `taylor` (sum of |w g|). `fisher` is the trace of the diagonal empirical Fisher
information: the mean over edits of the squared norm of the single edit's gradient, so edits with
opposite gradients add up here and cancel in `norm`. `neutral-ratio` is the norm over that of the
gradient of neutral texts: how strongly the edits depend on the location, compared with other text.
`neutral-cosine` is the cosine between the two: near zero where a step for the edits leaves neutral
text as it is, above zero where it lowers the loss of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import nan, sqrt

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from transformers import PreTrainedModel

from locscope.interp.gradients import (
    empty_sums,
    layer_groups,
    mean_gradient,
    requiring_grad,
    summed_gradient,
    weights_of,
)
from locscope.models.parts import Slice, slices, take
from locscope.progress import track
from locscope.records import LayerPart, ScanScore
from locscope.scans.context import Findings, ScanContext

_FLOAT32 = 4

Sums = Float64[Tensor, "6"]
"""Sums over weights w, with g the gradient of the edits and n that of neutral text: of g g, |g|,
w w, |w g|, n n and g n. Those of a location are the sums over its slices of parameters."""


def scan(context: ScanContext) -> Findings:
    """Scores of all parts; `count` is in edits.

    Neutral variants are NaN where there is no neutral text.
    """
    model, prefix_cache = context.loaded.model, context.prefix_cache
    # A gradient in the model's precision, and the sums of the edits' and the neutral one.
    per_weight = model.dtype.itemsize + 2 * _FLOAT32
    groups = layer_groups(model, range(context.loaded.info.layers), prefix_cache.budget, per_weight)
    sums: dict[LayerPart, Sums] = {}
    squares: dict[LayerPart, Tensor] = {}
    for layers in groups:
        sums_of, squares_of = _of_layers(context, layers)
        sums.update(sums_of)
        squares.update(squares_of)
    notes = () if context.suite.neutral.texts else ("no neutral texts: nothing to compare with",)
    return Findings(
        scores=(*_of_means(sums, len(context.edits)), *_fisher(context, squares)),
        usable=len(context.edits),
        settings=f"untouched model, {len(context.suite.neutral.texts)} neutral texts",
        notes=notes,
    )


def _targets(context: ScanContext) -> list[int]:
    return [questions.target.index for questions in context.suite.of(context.edits)]


def _of_layers(
    context: ScanContext, layers: Sequence[int]
) -> tuple[dict[LayerPart, Sums], dict[LayerPart, Float[Tensor, " edits"]]]:
    """For every part of the layers its sums, and per edit the squared norm of its own gradient."""
    model, prefix_cache = context.loaded.model, context.prefix_cache
    texts, weights = context.suite.neutral.texts, weights_of(model, layers)
    locations = [part for part in context.loaded.info.grid if part.layer in layers]
    # What lies below the lowest layer is cached and not run again.
    prefix_cache.enter(layers[0])
    edits = empty_sums(weights)
    squares = _per_edit(context, locations, edits)
    neutral = mean_gradient(prefix_cache, texts, weights, context.progress, "neutral gradient")
    if not texts:
        # NaN and not 0, as nothing was measured.
        neutral = {name: gradient.fill_(torch.nan) for name, gradient in neutral.items()}
    # Locations overlap (a block holds its attention): every slice is summed once.
    sums = {piece: _sums(model, piece, edits, neutral) for piece in _pieces(model, locations)}
    pieces = {location: _pieces(model, [location]) for location in locations}
    return (
        {at: torch.stack([sums[p] for p in own]).sum(0) for at, own in pieces.items()},
        {at: torch.stack([squares[p] for p in own]).sum(0) for at, own in pieces.items()},
    )


def _per_edit(
    context: ScanContext, locations: Sequence[LayerPart], mean: dict[str, Tensor]
) -> dict[Slice, Float[Tensor, " edits"]]:
    """Squared norms of every edit's own gradient; the mean gradient is added to `mean`."""
    model, rows = context.loaded.model, _targets(context)
    weights = {name: model.get_parameter(name) for name in mean}
    pieces = _pieces(model, locations)
    squares: list[Tensor] = []
    with requiring_grad(weights):
        # One by one: a batch gives the sum of gradients, and no norm of each edit's own.
        for row in track(context.progress, "weight gradient", rows):
            gradients = summed_gradient(context.prefix_cache, [row], weights)
            for name, total in mean.items():
                total.add_(gradients[name], alpha=1 / len(rows))
            own = [take(gradients[piece.name], piece) for piece in pieces]
            # In float64 within the sum: a copy of every gradient takes six times as long.
            norms = [torch.linalg.vector_norm(slope, dtype=torch.float64) for slope in own]
            squares.append(torch.stack(norms).square().cpu())
    return dict(zip(pieces, torch.stack(squares, dim=1), strict=True))


def _pieces(model: PreTrainedModel, locations: Iterable[LayerPart]) -> list[Slice]:
    """The slices of the locations, each once."""
    every = [piece for at in locations for piece in slices(model, at.location)]
    return list(dict.fromkeys(every))


def _sums(
    model: PreTrainedModel, piece: Slice, edits: dict[str, Tensor], neutral: dict[str, Tensor]
) -> Sums:
    # float64: products of many small gradients underflow in half precision.
    w = take(model.get_parameter(piece.name), piece).double()
    g, n = (take(gradient[piece.name], piece).double() for gradient in (edits, neutral))
    sums = (g @ g, g.abs().sum(), w @ w, (w * g).abs().sum(), n @ n, g @ n)
    return torch.stack(sums).cpu()


def _of_means(sums: Mapping[LayerPart, Sums], count: int) -> tuple[ScanScore, ...]:
    """The scores of the mean gradient."""
    return tuple(
        ScanScore(variant, at.layer, at.part, value, count=count)
        for at, own in sums.items()
        for variant, value in _variants(*own.tolist()).items()
    )


def _variants(gg: float, g: float, ww: float, wg: float, nn: float, gn: float) -> dict[str, float]:
    """The scores of a location by variant, of its `Sums`."""
    return {
        "norm": sqrt(gg),
        "l1": g,
        "relative-norm": _over(sqrt(gg), sqrt(ww)),
        "taylor": wg,
        "neutral-ratio": _over(sqrt(gg), sqrt(nn)),
        "neutral-cosine": _over(gn, sqrt(gg) * sqrt(nn)),
    }


def _over(value: float, by: float) -> float:
    # No ratio, rather than an infinite one that would rank first.
    return value / by if by else nan


def _fisher(
    context: ScanContext, squares: Mapping[LayerPart, Float[Tensor, " edits"]]
) -> tuple[ScanScore, ...]:
    """Means over edits with their intervals, part by part."""
    used = [questions.edit.id for questions in context.suite.of(context.edits)]
    tables = {
        part: torch.stack([values for at, values in squares.items() if at.part == part], dim=1)
        for part in dict.fromkeys(at.part for at in squares)
    }
    return tuple(
        score
        for part, table in tables.items()
        for score in context.scores("fisher", part, used, table)
    )
