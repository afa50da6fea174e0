"""Gradients of weights, a few layers at a time: memory bounds how many, never how many texts.

`slopes` goes the other way: the derivative of every text's loss along one given step of the
weights, for all texts of a batch at once and without a gradient of the weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.batching import Holds, in_stage
from locscope.forward.blocks import replaced_modules
from locscope.forward.head import answer_losses
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.locations import Location
from locscope.models.parts import Slice, blocks, pieces, slices
from locscope.progress import Progress

GRADIENT = Holds(states=8, backward=True, logits=3)
"""What enters every matrix, for the gradients of weights; where all tokens are labels, their
logits, log-probabilities and gradients."""
SLOPES = Holds(states=16, backward=True, logits=3)
"""Of every unit, how its module's output changes along the step, besides."""


@dataclass(frozen=True)
class Unit:
    """Weights that one module reads: the smallest thing whose step `slopes` can tell."""

    module: str
    slices: tuple[Slice, ...]


def layer_groups(
    model: PreTrainedModel, layers: Sequence[int], budget: Budget, bytes_per_weight: int
) -> tuple[tuple[int, ...], ...]:
    """The layers from the lowest up, in groups that fit the device's budget, one layer at least.

    `bytes_per_weight` is what is held at once for every weight of a group.
    """
    groups: list[list[int]] = []
    room = 0
    for layer in sorted(layers):
        need = bytes_per_weight * sum(p.numel() for p in blocks(model)[layer].parameters())
        if groups and need <= room:
            groups[-1].append(layer)
            room -= need
        else:
            groups.append([layer])
            room = budget.device - need
    return tuple(map(tuple, groups))


def weights_of(model: PreTrainedModel, layers: Sequence[int]) -> dict[str, nn.Parameter]:
    """All parameters of these layers by name."""
    places = [Location.at(layer, "block") for layer in layers]
    names = [piece.name for place in places for piece in slices(model, place)]
    return {name: model.get_parameter(name) for name in names}


@contextmanager
def asking(weights: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """The weights ask for gradients within the block, as before afterwards."""
    before = {name: weight.requires_grad for name, weight in weights.items()}
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        yield
    finally:
        for name, weight in weights.items():
            weight.requires_grad_(before[name])


def summed_gradient(
    prefix_cache: PrefixCache, rows: Sequence[int], weights: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The gradient of the sum of the rows' losses, in one batch; nothing is left in `.grad`."""
    losses = answer_losses(prefix_cache, prefix_cache.batch(rows))
    found = torch.autograd.grad(losses.sum(), list(weights.values()))
    return dict(zip(weights, found, strict=True))


def empty_sums(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Zeros in float32, to sum gradients into: those of bfloat16 weights are too coarse."""
    return {name: torch.zeros_like(w, dtype=torch.float32) for name, w in weights.items()}


def mean_gradient(
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    weights: Mapping[str, nn.Parameter],
    progress: Progress,
    name: str,
) -> dict[str, Tensor]:
    """The gradient (float32) of the rows' mean loss, from where the prefix cache is; a stage
    `name`."""
    sums = empty_sums(weights)

    def add(some: Sequence[int]) -> Sequence[int]:
        for key, gradient in summed_gradient(prefix_cache, some, weights).items():
            sums[key] += gradient
        return some

    def size(row: int) -> int:
        return GRADIENT.tokens(prefix_cache.model, int(prefix_cache.packed.lengths[row]))

    # Half of what fits: the weights' gradients and their sums lie beside it.
    with asking(weights):
        in_stage(
            progress, name, rows, add, size=size, tokens_at_once=prefix_cache.tokens_at_once // 2
        )
    return {key: total.div_(max(1, len(rows))) for key, total in sums.items()}


def units_of(model: PreTrainedModel, location: Location) -> tuple[Unit, ...]:
    """The weights of a location, by the module that reads them."""
    found: dict[str, list[Slice]] = {}
    for piece in slices(model, location):
        found.setdefault(piece.name.rpartition(".")[0], []).append(piece)
    return tuple(Unit(module, tuple(its)) for module, its in found.items())


def slopes(
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    units: Sequence[Unit],
    signs: Mapping[str, Int8[Tensor, "..."]],
) -> Float[Tensor, "rows units"]:
    """For every row and unit the derivative of the row's loss along the unit's signs, exact.

    A batch has one set of weights, but every row may take a step of its own size e along them:
    its loss with weights w + e s depends on its own e alone, so one backward pass to all the e,
    each at 0, gives the derivatives of all rows.
    """
    model, batch = prefix_cache.model, prefix_cache.batch(rows)
    sizes = torch.zeros(len(rows), len(units), device=model.device, requires_grad=True)
    stepping = {
        path: _Stepping(model.get_submodule(path), path, units, signs, sizes)
        for path in dict.fromkeys(unit.module for unit in units)
    }
    with replaced_modules(model, stepping):
        losses = answer_losses(prefix_cache, batch)
    return torch.autograd.grad(losses.sum(), sizes)[0]


@final
class _Stepping(nn.Module):
    """A module whose output, row by row, is that with weights w + e s."""

    def __init__(
        self,
        module: nn.Module,
        path: str,
        units: Sequence[Unit],
        signs: Mapping[str, Tensor],
        sizes: Float[Tensor, "rows units"],
    ) -> None:
        super().__init__()
        self.module, self.path, self.signs, self.sizes = module, path, signs, sizes
        self.units = [(i, unit) for i, unit in enumerate(units) if unit.module == path]

    def forward(self, hidden: Tensor) -> Tensor:
        out = self.module(hidden)
        # At e = 0 the input's own dependence on lower steps does not meet this one.
        given = hidden.detach()
        for i, unit in self.units:
            step = _step(self.module, self.path, unit, self.signs)
            size = self.sizes[:, i].view(-1, *[1] * (out.dim() - 1))
            out = out + (size * _change(self.module, step, given)).to(out.dtype)
        return out


def _change(module: nn.Module, step: dict[str, Tensor], hidden: Tensor) -> Tensor:
    """How the output changes along a step of the weights, in which all our modules are affine."""
    moved = torch.func.functional_call(module, step, (hidden,))
    if any(weight.dim() > 1 for weight in step.values()):
        return moved
    # Without weights a product of matrices is nothing, but Gemma's norm is not: it scales by 1 + w.
    nothing = {name: torch.zeros_like(weight) for name, weight in step.items()}
    return moved - torch.func.functional_call(module, nothing, (hidden,))


def _step(
    module: nn.Module, path: str, unit: Unit, signs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The step of a module's parameters: the signs in the unit's slices, zero elsewhere."""
    found = {name: torch.zeros_like(weight) for name, weight in module.named_parameters()}
    for piece in unit.slices:
        step = found[piece.name.removeprefix(f"{path}.")]
        for mine, sign in zip(pieces(step, piece), pieces(signs[piece.name], piece), strict=True):
            mine.copy_(sign)
    return found
