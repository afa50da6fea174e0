"""Depth-first tuning, sample by sample, for comparison only.

The way of EasyEdit's FT-M: every edit is tuned alone for up to `epochs` steps, with a fresh
optimiser, until its loss is below the threshold; then comes the next, and nobody looks back.
"""

from math import nan

import torch

from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Epoch, Recipe
from locscope.tuning.breadth_first import step
from locscope.tuning.collapse import CollapseCheck, never
from locscope.tuning.master_weights import MasterWeights


def tune(
    prefix_cache: PrefixCache,
    masters: MasterWeights,
    rows: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    _: CollapseCheck = never,
) -> tuple[Epoch, ...]:
    """Tunes on one row after the other, in a seeded order; an `Epoch` here is one row's tuning.

    Never gives up: how it collapses is what it is compared for.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(_one_row(prefix_cache, masters, rows[i], recipe) for i in order)


def _one_row(prefix_cache: PrefixCache, masters: MasterWeights, row: int, recipe: Recipe) -> Epoch:
    optimizer = torch.optim.Adam(masters.values, lr=recipe.lr)
    loss = nan
    for steps in range(recipe.epochs):
        loss = step(prefix_cache, masters, optimizer, [row], recipe.stop_below)
        if loss < recipe.stop_below:
            return Epoch(loss, steps, skipped=1)
    return Epoch(loss, recipe.epochs, skipped=0)
