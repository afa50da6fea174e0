"""The gradient of the edits' loss at every part of every layer, before any tuning.

Of the mean loss of the edits: `norm` (Euclidean), `l1` (times a learning rate it is the loss change
that Adam's first step predicts), `relative-norm` (over the norm of the weights), `taylor` (sum of
|w g|). `fisher` is the trace of the diagonal empirical Fisher information: the mean over edits of
the squared norm of the single edit's gradient, so edits that pull against each other add up here
and cancel in `norm`. `neutral-ratio` is the norm over that of the gradient of neutral texts: how
hard the edits pull compared with how much the rest of the model depends on the place;
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
from locscope.scans.bench import Findings, ScanBench

_FLOAT32 = 4


@dataclass(frozen=True)
class _Sums:
    """Sums over the weights w of a place, with g the gradient of the edits and n of neutral text.

    Places are made of slices of parameters, and these add up.
    """

    gg: float
    g: float
    ww: float
    wg: float
    nn: float
    gn: float


@dataclass(frozen=True)
class _Place:
    """A place of the grid with its sums and, per edit, the squared norm of its own gradient."""

    at: LayerPart
    sums: _Sums
    squares: Float[Tensor, " edits"]


def scan(bench: ScanBench) -> Findings:
    """Scores of all parts; `count` is in edits. Layers go in groups that the device's budget holds.

    Neutral variants are NaN where there is no neutral text.
    """
    model, trunk = bench.loaded.model, bench.trunk
    per_weight = model.dtype.itemsize + 2 * _FLOAT32
    groups = layer_groups(model, range(bench.loaded.info.layers), trunk.budget, per_weight)
    found = [place for layers in groups for place in _of_layers(bench, layers)]
    notes = () if bench.exam.neutral.texts else ("no neutral texts: nothing to compare with",)
    return Findings(
        scores=(*_of_means(found, len(bench.edits)), *_fisher(bench, found)),
        usable=len(bench.edits),
        settings=f"untouched model, {len(bench.exam.neutral.texts)} neutral texts",
        notes=notes,
    )


def l1_norm(bench: ScanBench, location: Location) -> float:
    """The L1 norm of the gradient of the edits' mean loss at a location, each weight once."""
    model, trunk = bench.loaded.model, bench.trunk
    found = slices(model, location)
    layers = sorted({n for site in location.sites for n in range(site.first, site.last + 1)})
    per_weight, total = model.dtype.itemsize + _FLOAT32, 0.0
    for group in layer_groups(model, layers, trunk.budget, per_weight):
        inside = weights_of(model, group)
        mine = [piece for piece in found if piece.name in inside]
        weights = {piece.name: inside[piece.name] for piece in mine}
        trunk.enter(group[0])
        gradient = mean_gradient(trunk, _targets(bench), weights, bench.progress, "weight gradient")
        total += sum(
            float(take(gradient[piece.name], piece).double().abs().sum()) for piece in mine
        )
    return total


def _targets(bench: ScanBench) -> list[int]:
    return [one.target.index for one in bench.exam.of(bench.edits)]


def _of_layers(bench: ScanBench, layers: Sequence[int]) -> list[_Place]:
    """The places of a group of layers; the trunk spares what lies below the lowest."""
    model, trunk = bench.loaded.model, bench.trunk
    texts, weights = bench.exam.neutral.texts, weights_of(model, layers)
    places = [place for place in bench.loaded.info.grid if place.layer in layers]
    trunk.enter(layers[0])
    edits = empty_sums(weights)
    squares = _per_edit(bench, places, edits)
    neutral = mean_gradient(trunk, texts, weights, bench.progress, "neutral gradient")
    if not texts:
        neutral = {name: gradient.fill_(torch.nan) for name, gradient in neutral.items()}
    found = {piece: _sums(model, piece, edits, neutral) for piece in _pieces(model, places)}
    return [_place(model, place, found, squares) for place in places]


def _per_edit(
    bench: ScanBench, places: Sequence[LayerPart], mean: dict[str, Tensor]
) -> dict[Slice, Float[Tensor, " edits"]]:
    """Squared norms of every edit's own gradient; their mean gradient is summed up in `mean`."""
    model, rows = bench.loaded.model, _targets(bench)
    weights = {name: model.get_parameter(name) for name in mean}
    pieces = _pieces(model, places)
    squares: list[Tensor] = []
    with asking(weights):
        for row in track(bench.progress, "weight gradient", rows):
            gradients = summed_gradient(bench.trunk, [row], weights)
            for name, total in mean.items():
                total.add_(gradients[name], alpha=1 / len(rows))
            own = [take(gradients[piece.name], piece).double().square().sum() for piece in pieces]
            squares.append(torch.stack(own).cpu())
    return dict(zip(pieces, torch.stack(squares, dim=1), strict=True))


def _pieces(model: PreTrainedModel, places: Iterable[LayerPart]) -> list[Slice]:
    """The slices that the places are made of, each once."""
    every = [piece for at in places for piece in slices(model, Location.parse(at.location))]
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


def _place(
    model: PreTrainedModel,
    at: LayerPart,
    sums: dict[Slice, _Sums],
    squares: dict[Slice, Float[Tensor, " edits"]],
) -> _Place:
    pieces = _pieces(model, [at])
    total = [sum(column) for column in zip(*(astuple(sums[p]) for p in pieces), strict=True)]
    return _Place(at, _Sums(*total), torch.stack([squares[p] for p in pieces]).sum(0))


def _of_means(places: Sequence[_Place], count: int) -> tuple[ScanScore, ...]:
    """The scores that the mean gradient gives."""
    return tuple(
        ScanScore(variant, place.at.layer, place.at.part, value, count=count)
        for place in places
        for variant, value in _variants(place.sums).items()
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


def _fisher(bench: ScanBench, places: Sequence[_Place]) -> tuple[ScanScore, ...]:
    """Means over edits with their intervals, part by part."""
    used = [one.edit.id for one in bench.exam.of(bench.edits)]
    parts = dict.fromkeys(place.at.part for place in places)
    tables = {
        part: torch.stack([p.squares for p in places if p.at.part == part], dim=1) for part in parts
    }
    return tuple(
        score
        for part, table in tables.items()
        for score in bench.scores("fisher", part, used, table)
    )
