"""The orders in which edits can be tuned: a table; and depth-first, for comparison only.

Depth-first is the way of EasyEdit's FT-M: every edit is tuned alone for up to `epochs` steps, with
a fresh optimiser, until its loss is below the threshold. Then comes the next edit; none is tuned
again.
"""

from math import nan
from typing import Protocol, runtime_checkable

import torch

from locscope.errors import unknown
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Epoch, Recipe
from locscope.tuning import breadth_first
from locscope.tuning.breadth_first import batch_gradient
from locscope.tuning.collapse import CollapseCheck, never
from locscope.tuning.master_weights import MasterWeights


@runtime_checkable
class Tune(Protocol):
    """Tunes master weights on the rows of a prefix cache, which stands below all of them."""

    def __call__(
        self,
        prefix_cache: PrefixCache,
        masters: MasterWeights,
        rows: tuple[int, ...],
        recipe: Recipe,
        seed: int,
        collapsed: CollapseCheck,
    ) -> tuple[Epoch, ...]:
        """The epochs that were run; the masters are changed in place."""
        ...


def depth_first(
    prefix_cache: PrefixCache,
    masters: MasterWeights,
    rows: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    collapsed: CollapseCheck = never,
) -> tuple[Epoch, ...]:
    """Tunes on one row after the other, in a seeded order; an `Epoch` here is one row's tuning.

    Never gives up: how it collapses is what it is compared for.
    """
    del collapsed
    # Drawn on the CPU, as in breadth-first order.
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(_one_row(prefix_cache, masters, rows[i], recipe) for i in order)


ORDERS: dict[str, Tune] = {"breadth-first": breadth_first.tune, "depth-first": depth_first}


def order_of(recipe: Recipe) -> Tune:
    """The tuner of a recipe. Raises UsageError where there is no such order."""
    if recipe.order not in ORDERS:
        raise unknown("order", recipe.order, ORDERS)
    return ORDERS[recipe.order]


def _one_row(prefix_cache: PrefixCache, masters: MasterWeights, row: int, recipe: Recipe) -> Epoch:
    # Fresh for every row, as in FT-M: Adam's moments must not carry over to the next edit.
    optimizer = torch.optim.Adam(masters.values, lr=recipe.lr)
    loss = nan
    for steps in range(recipe.epochs):
        loss = batch_gradient(prefix_cache, masters, [row], recipe.stop_below)
        if loss < recipe.stop_below:
            return Epoch(loss, steps, skipped=1)
        optimizer.step()
        masters.write_back()
    return Epoch(loss, recipe.epochs, skipped=0)
