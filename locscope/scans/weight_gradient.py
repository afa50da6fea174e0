"""The gradient of the edits' loss at every part of every layer, from one backward pass.

Variants: `norm` (Euclidean), `l1` (times a learning rate it is the loss change that Adam's first
step predicts), `relative-norm` (over the norm of the weights), `taylor` (sum of |w g|).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.engine.loss import answer_losses
from locscope.engine.trunk import chunks
from locscope.locations import Location
from locscope.models.parts import Slice, blocks, slices, take
from locscope.progress import track
from locscope.records import LayerPart, ScanScore
from locscope.scans.bench import ScanBench


def scan(bench: ScanBench) -> tuple[ScanScore, ...]:
    """Scores of all parts; `count` is in edits. The gradient is that of the mean loss per edit."""
    model = bench.loaded.model
    with _gradients(model):
        _backward(bench)
        scored = [_scores(model, part, len(bench.edits)) for part in bench.loaded.info.grid]
    return tuple(score for scores in scored for score in scores)


def l1_norm(bench: ScanBench, location: Location) -> float:
    """The L1 norm of the gradient of the edits' mean loss at a location, each weight once."""
    model = bench.loaded.model
    with _gradients(model):
        _backward(bench)
        named = dict(model.named_parameters())
        found = [_gradient(named[piece.name], piece) for piece in slices(model, location)]
    return sum(float(gradient.double().abs().sum()) for gradient in found)


def _backward(bench: ScanBench) -> None:
    """Leaves the gradient of the edits' mean loss in the model."""
    trunk = bench.trunk
    trunk.enter(0)
    rows = [one.target.index for one in bench.exam.of(bench.edits)]
    batches = list(chunks(trunk.sheet.lengths, rows, trunk.tokens_at_once))
    for some in track(bench.progress, "weight gradient", batches):
        (answer_losses(trunk, trunk.batch(some)).sum() / len(rows)).backward()


def _scores(model: PreTrainedModel, part: LayerPart, count: int) -> tuple[ScanScore, ...]:
    named = dict(model.named_parameters())
    found = slices(model, Location.parse(part.location))
    weights = torch.cat([take(named[piece.name], piece) for piece in found]).double()
    gradient = torch.cat([_gradient(named[piece.name], piece) for piece in found]).double()
    norm = gradient.norm()
    values = {
        "norm": norm,
        "l1": gradient.abs().sum(),
        "relative-norm": norm / weights.norm(),
        "taylor": (weights * gradient).abs().sum(),
    }
    return tuple(
        ScanScore(name, part.layer, part.part, float(value), count=count)
        for name, value in values.items()
    )


def _gradient(parameter: Tensor, piece: Slice) -> Float[Tensor, " weights"]:
    assert parameter.grad is not None, f"no gradient reached {piece.name}"
    return take(parameter.grad, piece)


@contextmanager
def _gradients(model: PreTrainedModel) -> Iterator[None]:
    """All weights of all blocks ask for gradients, and have none left afterwards."""
    before = {parameter: parameter.requires_grad for parameter in blocks(model).parameters()}
    try:
        for parameter in before:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, wanted_gradient in before.items():
            parameter.requires_grad_(wanted_gradient)
            parameter.grad = None
