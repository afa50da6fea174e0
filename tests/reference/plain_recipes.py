"""Slow and obvious: recipes by hand on a plain model, with whole forwards of left-padded rows."""

from collections.abc import Callable, Sequence

import torch
from reference.plain_loop import HandAdam, plain_gradients, plain_losses
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.packed import TokenRow
from locscope.records import Recipe


def batches(rows: Sequence[TokenRow], recipe: Recipe, seed: int) -> list[list[TokenRow]]:
    """All batches of all epochs, in order; none is skipped."""
    order = torch.Generator().manual_seed(seed)
    shuffled = [torch.randperm(len(rows), generator=order) for _ in range(recipe.epochs)]
    return [
        [rows[i] for i in some.tolist()] for one in shuffled for some in one.split(recipe.batch)
    ]


def plain_masked(
    model: PreTrainedModel,
    masks: dict[str, Tensor],
    rows: Sequence[TokenRow],
    recipe: Recipe,
    seed: int,
) -> None:
    """Adam on whole parameters, but of each of its steps an element takes its mask's share."""
    adam = HandAdam({name: model.get_parameter(name) for name in masks}, recipe.lr)
    for batch in batches(rows, recipe, seed):
        before = {name: model.get_parameter(name).detach().clone() for name in masks}
        adam.step(plain_gradients(model, list(masks), batch))
        with torch.no_grad():
            for name, mask in masks.items():
                parameter = model.get_parameter(name)
                parameter.copy_(before[name] + mask * (parameter - before[name]))


def plain_trained(
    model: PreTrainedModel,
    learned: Sequence[nn.Parameter],
    rows: Sequence[TokenRow],
    recipe: Recipe,
    seed: int,
) -> None:
    """torch's Adam on parameters that are somewhere in the model."""
    adam = torch.optim.Adam(learned, lr=recipe.lr)
    for batch in batches(rows, recipe, seed):
        adam.zero_grad()
        plain_losses(model, batch).mean().backward()
        adam.step()


class Added(nn.Module):
    """A parametrisation: a weight with something added."""

    def __init__(self, what: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.what = what

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.what(weight)
