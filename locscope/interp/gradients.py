"""Gradients of weights, a few layers at a time: memory bounds the layers, never the texts.

`slopes` differentiates every text's loss along one given step of the weights: for all texts of a
batch at once, and without a gradient of the weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import final

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.batching import in_stage, tokens_worth
from locscope.forward.blocks import replaced_modules
from locscope.forward.head import answer_losses
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.locations import Location
from locscope.models.parts import Slice, blocks, pieces, slices
from locscope.models.streaming.blocks import hold
from locscope.progress import Progress

GRADIENT_WORTH = partial(tokens_worth, states=8, backward=True, logits=3)
"""The input of every matrix, for the gradients of weights; where all tokens are labels, their
logits, log-probabilities and gradients."""
SLOPES_WORTH = partial(tokens_worth, states=16, backward=True, logits=3)
"""Besides, the change of every unit's output along the step."""

Unit = tuple[Slice, ...]
"""Weights of one module: the smallest step whose effect `slopes` can tell."""


def layer_groups(
    model: PreTrainedModel, layers: Sequence[int], budget: Budget, bytes_per_weight: int
) -> tuple[tuple[int, ...], ...]:
    """The layers from the lowest up, in groups that fit the device's budget.

    A group has at least one layer. `bytes_per_weight` is what is held at once for every weight of a
    group.
    """
    groups: list[list[int]] = []
    free = 0
    # From the lowest up, so that the prefix cache has to go through the blocks once.
    for layer in sorted(layers):
        need = bytes_per_weight * sum(p.numel() for p in blocks(model)[layer].parameters())
        if groups and need <= free:
            groups[-1].append(layer)
            free -= need
        else:
            groups.append([layer])
            free = budget.device - need
    return tuple(map(tuple, groups))


def weights_of(model: PreTrainedModel, layers: Sequence[int]) -> dict[str, nn.Parameter]:
    """All parameters of these layers by name; of a streamed model they are held on the device."""
    locations = [Location.at(layer, "block") for layer in layers]
    names = [piece.name for location in locations for piece in slices(model, location)]
    hold(model, "gradients", names)
    return {name: model.get_parameter(name) for name in names}


@contextmanager
def requiring_grad(weights: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """The weights require gradients within the context; afterwards all is as before."""
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
    # Not `backward`: it would leave gradients in the tensors of a model that others go on using.
    gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
    return dict(zip(weights, gradients, strict=True))


def empty_sums(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Zeros in float32, to sum gradients into: those of bfloat16 weights are too coarse."""
    return {name: torch.zeros_like(w, dtype=torch.float32) for name, w in weights.items()}


def gradient_tokens(prefix_cache: PrefixCache) -> int:
    """Tokens of a batch of `mean_gradient`, each weighed as `GRADIENT_WORTH` says."""
    # Half of what fits: the weights' gradients and their sums are held besides. On a CPU no more
    # than some hundreds that weigh nothing would be: more take gigabytes and no less time.
    return min(prefix_cache.tokens_at_once // 2, 2 * prefix_cache.tokens_of_a_batch)


def mean_gradient(
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    weights: Mapping[str, nn.Parameter],
    progress: Progress,
    name: str,
) -> dict[str, Tensor]:
    """The float32 gradient of the rows' mean loss, run from the block where the prefix cache is.

    Progress shows it as the stage `name`.
    """
    sums = empty_sums(weights)

    def add(batch: Sequence[int]) -> Sequence[int]:
        for key, gradient in summed_gradient(prefix_cache, batch, weights).items():
            sums[key] += gradient
        return batch

    def size(row: int) -> int:
        return GRADIENT_WORTH(prefix_cache.model, int(prefix_cache.packed.lengths[row]))

    with requiring_grad(weights):
        in_stage(progress, name, rows, add, size=size, tokens_at_once=gradient_tokens(prefix_cache))
    return {key: total.div_(max(1, len(rows))) for key, total in sums.items()}


def units_of(model: PreTrainedModel, location: Location) -> tuple[Unit, ...]:
    """The weights of a location, by module."""
    units: dict[str, list[Slice]] = {}
    for piece in slices(model, location):
        units.setdefault(_module_path(piece), []).append(piece)
    return tuple(map(tuple, units.values()))


def slopes(
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    units: Sequence[Unit],
    signs: Mapping[str, Int8[Tensor, "..."]],
) -> Float[Tensor, "rows units"]:
    """For every row and unit the exact derivative of the row's loss along the unit's signs.

    A batch has one set of weights, but every row may take a step of its own size e along the signs
    s. A row's loss with weights w + e s depends on its own e alone, so one backward pass to all the
    e, each at 0, gives the derivatives of all rows.
    """
    model, batch = prefix_cache.model, prefix_cache.batch(rows)
    sizes = torch.zeros(len(rows), len(units), device=model.device, requires_grad=True)
    stepping = {
        path: _Stepping(model.get_submodule(path), path, units, signs, sizes)
        for path in dict.fromkeys(_module_path(unit[0]) for unit in units)
    }
    with replaced_modules(model, stepping):
        losses = answer_losses(prefix_cache, batch)
        # Within: a streamed model runs its blocks again on the way back, and they have to step.
        return torch.autograd.grad(losses.sum(), sizes)[0]


@final
class _Stepping(nn.Module):
    """A module that computes every row with weights w + e s."""

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
        own = [(i, unit) for i, unit in enumerate(units) if _module_path(unit[0]) == path]
        self.units = own

    def forward(self, hidden: Tensor) -> Tensor:
        out = self.module(hidden)
        # The step's size is 0, so how its change depends on lower steps has no first-order effect.
        detached = hidden.detach()
        for i, unit in self.units:
            step = _step(self.module, self.path, unit, self.signs)
            # OPT lays the tokens of all rows behind one another before its matrices.
            size = self.sizes[:, i].repeat_interleave(len(out) // len(self.sizes))
            size = size.view(-1, *[1] * (out.dim() - 1))
            out = out + (size * _change(self.module, step, detached)).to(out.dtype)
        return out


def _change(module: nn.Module, step: dict[str, Tensor], hidden: Tensor) -> Tensor:
    """The output's change along a step of the weights, in which all these modules are affine."""
    moved = torch.func.functional_call(module, step, (hidden,))
    if any(weight.dim() > 1 for weight in step.values()):
        return moved
    # With weights of zero a matrix gives nothing, but Gemma's norm does: it scales by 1 + w.
    nothing = {name: torch.zeros_like(weight) for name, weight in step.items()}
    return moved - torch.func.functional_call(module, nothing, (hidden,))


def _step(
    module: nn.Module, path: str, unit: Unit, signs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The step of a module's parameters: the signs in the unit's slices, zero elsewhere."""
    steps = {name: torch.zeros_like(weight) for name, weight in module.named_parameters()}
    for piece in unit:
        step = steps[piece.name.removeprefix(f"{path}.")]
        for view, sign in zip(pieces(step, piece), pieces(signs[piece.name], piece), strict=True):
            view.copy_(sign)
    return steps


def _module_path(piece: Slice) -> str:
    """The module whose parameter a slice is cut from."""
    return piece.name.rpartition(".")[0]
