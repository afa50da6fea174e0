"""The tuned weights as float32 masters, and the promise that the model gets its own back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.models.parts import Slice, put, take
from locscope.models.save import Change


@final
class Masters:
    """Float32 copies of the selected weights, which an optimiser steps.

    After every step the model holds the masters rounded to `stored`, the dtype of its weights on
    disk: what a trial measures is what is saved.
    """

    def __init__(
        self, model: PreTrainedModel, slices: Sequence[Slice], stored: torch.dtype
    ) -> None:
        named = dict(model.named_parameters())
        self.slices = tuple(slices)
        self.stored = stored
        self.parameters: tuple[nn.Parameter, ...] = tuple(named[s.name] for s in self.slices)
        self.values: tuple[Float[Tensor, " weights"], ...] = tuple(
            take(parameter, s) for parameter, s in self._pairs()
        )

    def collect_gradients(self) -> None:
        """Moves the gradient of the last backward pass from the model to the masters."""
        for (parameter, piece), master in zip(self._pairs(), self.values, strict=True):
            assert parameter.grad is not None, f"no gradient reached {piece.name}"
            master.grad = take(parameter.grad, piece)
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forgets the gradients of backward passes that were not collected."""
        for parameter in self.parameters:
            parameter.grad = None

    def write_back(self) -> None:
        """Puts the masters into the model, rounded to the stored dtype."""
        for (parameter, piece), master in zip(self._pairs(), self.values, strict=True):
            put(parameter, piece, master.to(self.stored))

    def changes(self) -> tuple[Change, ...]:
        """The selected weights as the model holds them now."""
        return tuple(Change(s, take(p, s).to(self.stored).cpu()) for p, s in self._pairs())

    def _pairs(self) -> list[tuple[nn.Parameter, Slice]]:
        return list(zip(self.parameters, self.slices, strict=True))


@contextmanager
def borrowed(
    model: PreTrainedModel, slices: Sequence[Slice], stored: torch.dtype
) -> Iterator[Masters]:
    """Masters of the slices to tune; afterwards the model's weights are back, bit for bit."""
    named = dict(model.named_parameters())
    names = list(dict.fromkeys(s.name for s in slices))
    kept = {name: (named[name].detach().clone(), named[name].requires_grad) for name in names}
    try:
        for name in names:
            named[name].requires_grad_(True)
        yield Masters(model, slices, stored)
    finally:
        for name, (values, wanted_gradient) in kept.items():
            named[name].grad = None
            named[name].requires_grad_(wanted_gradient)
            with torch.no_grad():
                named[name].copy_(values)
