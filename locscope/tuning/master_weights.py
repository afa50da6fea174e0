"""The tuned weights as float32 master weights; afterwards the model has its own back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.blocks import replaced_modules
from locscope.models.parts import Slice, put, take
from locscope.models.save import Changes
from locscope.models.streaming.blocks import hold, mapped_of


@dataclass(frozen=True)
class Parametrization:
    """Weights of one slice as a function of what the optimiser steps.

    `start` are float32 tensors of any shape, `weights` makes the slice's weights (count,) of them,
    in the order of `take` and so that gradients flow.
    """

    slice: Slice
    start: tuple[Tensor, ...]
    weights: Callable[..., Float[Tensor, " count"]]


TunedPart = Slice | Parametrization
"""A slice alone is tuned whole, each of its weights its own master."""


def slice_of(part: TunedPart) -> Slice:
    """The weights that a part stands for."""
    return part if isinstance(part, Slice) else part.slice


@final
class MasterWeights:
    """Float32 tensors that an optimiser steps, and the selected weights that follow from them.

    A slice alone stands for all of its weights, each its own master. After every step the model
    holds what the master weights say, rounded to `stored`, the dtype of its weights on disk: what a
    trial measures is what is saved.
    """

    def __init__(
        self, model: PreTrainedModel, parts: Sequence[TunedPart], stored: torch.dtype
    ) -> None:
        named = dict(model.named_parameters())
        self.slices = tuple(map(slice_of, parts))
        # Not the dtype that the model computes in: it may be wider than what is saved.
        self.stored = stored
        self.parameters: tuple[nn.Parameter, ...] = tuple(named[s.name] for s in self.slices)
        self._parametrizations = tuple(
            _whole(p, part) if isinstance(part, Slice) else part
            for p, part in zip(self.parameters, parts, strict=True)
        )
        self.values: tuple[Tensor, ...] = tuple(
            value for parametrization in self._parametrizations for value in parametrization.start
        )

    def weights(self) -> tuple[Float[Tensor, " weights"], ...]:
        """What the master weights say of every slice, not rounded; it may share their memory."""
        return tuple(
            parametrization.weights(*parametrization.start)
            for parametrization in self._parametrizations
        )

    def collect_gradients(self) -> None:
        """Moves the gradient of the last backward pass from the model to the master weights."""
        gradients: dict[str, Tensor] = {}
        for parameter, piece in zip(self.parameters, self.slices, strict=True):
            assert parameter.grad is not None, f"no gradient reached {piece.name}"
            gradients[piece.name] = parameter.grad
        self.pull_back(gradients)
        self.drop_gradients()

    def pull_back(self, gradients: Mapping[str, Tensor]) -> None:
        """Gives the master weights the gradient that follows from those of the parameters."""
        for parametrization in self._parametrizations:
            piece = parametrization.slice
            _pull_back(parametrization, take(gradients[piece.name], piece))

    def drop_gradients(self) -> None:
        """Forgets the gradients of backward passes that were not collected."""
        for parameter in self.parameters:
            parameter.grad = None

    def write_back(self) -> None:
        """Puts what the master weights say into the model, rounded to the stored dtype."""
        for parameter, parametrization in zip(self.parameters, self._parametrizations, strict=True):
            put(
                parameter,
                parametrization.slice,
                parametrization.weights(*parametrization.start).to(self.stored),
            )

    def change_norm(self) -> float:
        """Euclidean norm of the change of all tuned weights, once the model has its own back."""
        pairs = zip(self.parameters, self.slices, self.weights(), strict=True)
        squares = [float((end - take(p, s)).double().square().sum()) for p, s, end in pairs]
        return sum(squares) ** 0.5

    def changes(self) -> Changes:
        """The selected weights as the model holds them now."""
        pairs = zip(self.parameters, self.slices, strict=True)
        return {s: take(p, s).to(self.stored).cpu() for p, s in pairs}


@contextmanager
def temporarily_trainable(
    model: PreTrainedModel,
    parts: Sequence[TunedPart],
    stored: torch.dtype,
) -> Iterator[MasterWeights]:
    """Master weights of what is to be tuned; afterwards the model's weights are back, bit for bit.

    A module without a bias of which the bias is to be tuned has one of zeros until then.
    """
    names = list(dict.fromkeys(slice_of(part).name for part in parts))
    hold(model, "tuned", names)
    missing = set(names) - {name for name, _ in model.named_parameters()}
    unbiased = [name.removesuffix(".bias") for name in names if name in missing]
    with replaced_modules(model, {path: _biased(model.get_submodule(path)) for path in unbiased}):
        named = dict(model.named_parameters())
        before = {name: (named[name].data, named[name].requires_grad) for name in names}
        mapped = mapped_of(model, names)
        try:
            for name in names:
                # A copy is tuned: the weights may be those of a file that other processes map too.
                if name not in mapped:
                    named[name].data = named[name].data.clone()
                named[name].requires_grad_(True)
            yield MasterWeights(model, parts, stored)
        finally:
            # The parameter stays the one that others hold; only its values are exchanged.
            for name, (values, wanted_gradient) in before.items():
                named[name].grad = None
                named[name].requires_grad_(wanted_gradient)
                # What is held of a streamed model is a copy already, and is made that again.
                named[name].data = values.copy_(mapped[name]) if name in mapped else values


def _whole(parameter: nn.Parameter, piece: Slice) -> Parametrization:
    return Parametrization(piece, (take(parameter, piece),), _itself)


def _itself(values: Tensor) -> Tensor:
    return values


def _pull_back(parametrization: Parametrization, gradient: Float[Tensor, " count"]) -> None:
    """Gives the parametrization's master weights the gradient that its weights have: the chain
    rule."""
    if parametrization.weights is _itself:
        parametrization.start[0].grad = gradient
        return
    # Leaves of their own, which share the master weights' memory: the optimiser steps the master
    # weights in place, which autograd refuses for tensors of a graph.
    leaves = [value.detach().requires_grad_() for value in parametrization.start]
    gradients = torch.autograd.grad(parametrization.weights(*leaves), leaves, gradient)
    for value, of_value in zip(parametrization.start, gradients, strict=True):
        value.grad = of_value


def _biased(module: nn.Module) -> nn.Linear:
    """A linear module without a bias as one with a bias of zeros; its weight is the same one."""
    weight = module.get_parameter("weight")
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight = weight
    linear.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
    return linear
