"""The gradient of the edits' loss at every part of every layer, before any tuning.

Of the mean loss of the edits: `norm` (Euclidean), `l1` (times a learning rate it is the loss change
that Adam's first step predicts), `relative-norm` (over the norm of the weights), `taylor` (sum of
|w g|). `fisher` is the trace of the diagonal empirical Fisher information: the mean over edits of
the squared norm of the single edit's gradient, so edits that pull against each other add up here
and cancel in `norm`. `neutral-ratio` is the norm over that of the gradient of neutral texts: how
hard the edits pull compared with how much the rest of the model depends on the location;
`neutral-cosine` the cosine between the two, near zero where the edits leave neutral text alone
and above it where both want the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from math import nan, sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.interp.gradients import (
    asking,
    empty_sums,
    layer_groups,
    mean_gradient,
    summed_gradient,
    weights_of,
)
from locscope.locations import Location
from locscope.models.parts import Slice, slices, take
from locscope.progress import track
from locscope.records import LayerPart, ScanScore
from locscope.scans.context import Findings, ScanContext

_FLOAT32 = 4


@dataclass(frozen=True)
class _Sums:
    """Sums over the weights w of a location, with g the gradient of the edits and n of neutral
    text.

    Locations are made of slices of parameters, and these add up.
    """

    gg: float
    g: float
    ww: float
    wg: float
    nn: float
    gn: float


@dataclass(frozen=True)
class _AtLocation:
    """A part of a layer with its sums and, per edit, the squared norm of its own gradient."""

    at: LayerPart
    sums: _Sums
    squares: Float[Tensor, " edits"]


def scan(context: ScanContext) -> Findings:
    """Scores of all parts; `count` is in edits. Layers go in groups that the device's budget holds.

    Neutral variants are NaN where there is no neutral text.
    """
    model, prefix_cache = context.loaded.model, context.prefix_cache
    per_weight = model.dtype.itemsize + 2 * _FLOAT32
    groups = layer_groups(model, range(context.loaded.info.layers), prefix_cache.budget, per_weight)
    found = [location for layers in groups for location in _of_layers(context, layers)]
    notes = () if context.suite.neutral.texts else ("no neutral texts: nothing to compare with",)
    return Findings(
        scores=(*_of_means(found, len(context.edits)), *_fisher(context, found)),
        usable=len(context.edits),
        settings=f"untouched model, {len(context.suite.neutral.texts)} neutral texts",
        notes=notes,
    )


def _targets(context: ScanContext) -> list[int]:
    return [one.target.index for one in context.suite.of(context.edits)]


def _of_layers(context: ScanContext, layers: Sequence[int]) -> list[_AtLocation]:
    """The places of a group of layers; the prefix cache spares what lies below the lowest."""
    model, prefix_cache = context.loaded.model, context.prefix_cache
    texts, weights = context.suite.neutral.texts, weights_of(model, layers)
    locations = [part for part in context.loaded.info.grid if part.layer in layers]
    prefix_cache.enter(layers[0])
    edits = empty_sums(weights)
    squares = _per_edit(context, locations, edits)
    neutral = mean_gradient(prefix_cache, texts, weights, context.progress, "neutral gradient")
    if not texts:
        neutral = {name: gradient.fill_(torch.nan) for name, gradient in neutral.items()}
    found = {piece: _sums(model, piece, edits, neutral) for piece in _pieces(model, locations)}
    return [_location(model, location, found, squares) for location in locations]


def _per_edit(
    context: ScanContext, locations: Sequence[LayerPart], mean: dict[str, Tensor]
) -> dict[Slice, Float[Tensor, " edits"]]:
    """Squared norms of every edit's own gradient; their mean gradient is summed up in `mean`."""
    model, rows = context.loaded.model, _targets(context)
    weights = {name: model.get_parameter(name) for name in mean}
    pieces = _pieces(model, locations)
    squares: list[Tensor] = []
    with asking(weights):
        for row in track(context.progress, "weight gradient", rows):
            gradients = summed_gradient(context.prefix_cache, [row], weights)
            for name, total in mean.items():
                total.add_(gradients[name], alpha=1 / len(rows))
            own = [take(gradients[piece.name], piece).double().square().sum() for piece in pieces]
            squares.append(torch.stack(own).cpu())
    return dict(zip(pieces, torch.stack(squares, dim=1), strict=True))


def _pieces(model: PreTrainedModel, locations: Iterable[LayerPart]) -> list[Slice]:
    """The slices that the locations are made of, each once."""
    every = [piece for at in locations for piece in slices(model, Location.parse(at.location))]
    return list(dict.fromkeys(every))


def _sums(
    model: PreTrainedModel, piece: Slice, edits: dict[str, Tensor], neutral: dict[str, Tensor]
) -> _Sums:
    w = take(model.get_parameter(piece.name), piece).double()
    g, n = (take(gradient[piece.name], piece).double() for gradient in (edits, neutral))
    return _Sums(
        gg=float(g @ g),
        g=float(g.abs().sum()),
        ww=float(w @ w),
        wg=float((w * g).abs().sum()),
        nn=float(n @ n),
        gn=float(g @ n),
    )


def _location(
    model: PreTrainedModel,
    at: LayerPart,
    sums: dict[Slice, _Sums],
    squares: dict[Slice, Float[Tensor, " edits"]],
) -> _AtLocation:
    pieces = _pieces(model, [at])
    total = [sum(column) for column in zip(*(astuple(sums[p]) for p in pieces), strict=True)]
    return _AtLocation(at, _Sums(*total), torch.stack([squares[p] for p in pieces]).sum(0))


def _of_means(locations: Sequence[_AtLocation], count: int) -> tuple[ScanScore, ...]:
    """The scores that the mean gradient gives."""
    return tuple(
        ScanScore(variant, location.at.layer, location.at.part, value, count=count)
        for location in locations
        for variant, value in _variants(location.sums).items()
    )


def _variants(sums: _Sums) -> dict[str, float]:
    return {
        "norm": sqrt(sums.gg),
        "l1": sums.g,
        "relative-norm": _over(sqrt(sums.gg), sqrt(sums.ww)),
        "taylor": sums.wg,
        "neutral-ratio": _over(sqrt(sums.gg), sqrt(sums.nn)),
        "neutral-cosine": _over(sums.gn, sqrt(sums.gg) * sqrt(sums.nn)),
    }


def _over(value: float, by: float) -> float:
    return value / by if by else nan


def _fisher(context: ScanContext, locations: Sequence[_AtLocation]) -> tuple[ScanScore, ...]:
    """Means over edits with their intervals, part by part."""
    used = [one.edit.id for one in context.suite.of(context.edits)]
    parts = dict.fromkeys(location.at.part for location in locations)
    tables = {
        part: torch.stack([p.squares for p in locations if p.at.part == part], dim=1)
        for part in parts
    }
    return tuple(
        score
        for part, table in tables.items()
        for score in context.scores("fisher", part, used, table)
    )
