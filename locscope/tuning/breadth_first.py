"""Breadth-first tuning: epochs over all edits in mini-batches, at one location.

Source: LocFT-BF (arXiv 2509.22072, section 2; code `fine-tune.py`): cross-entropy on target and EOS
tokens, per-example token mean, then batch mean; Adam without decay at a constant rate; every epoch
shuffled; a batch whose loss is below 1e-2 is skipped, and tuning stops when the epoch's mean is.
"""

from collections.abc import Sequence
from math import isfinite

import torch

from locscope.forward.head import answer_losses
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Epoch, Recipe
from locscope.tuning.collapse import CollapseCheck, never
from locscope.tuning.master_weights import MasterWeights

EVERY = 5
"""Epochs between two checks whether the model has collapsed."""
PATIENCE = 5
"""Epochs within which the loss has to fall below that of the first."""


def tune(
    prefix_cache: PrefixCache,
    masters: MasterWeights,
    rows: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    collapsed: CollapseCheck = never,
) -> tuple[Epoch, ...]:
    """Tunes the master weights on these rows of the prefix cache.

    It must have entered the lowest tuned layer or one below. Ends early where the model has
    learned, does not learn, or is `collapsed`.
    """
    # One for all epochs: depth-first tuning begins a new one with every edit.
    optimizer = torch.optim.Adam(masters.values, lr=recipe.lr)
    # On the CPU, so that rows are shuffled alike on every device.
    order = torch.Generator().manual_seed(seed)
    epochs: list[Epoch] = []
    for done in range(1, recipe.epochs + 1):
        shuffled = torch.randperm(len(rows), generator=order).tolist()
        losses: list[float] = []
        for start in range(0, len(rows), recipe.batch):
            batch = [rows[i] for i in shuffled[start : start + recipe.batch]]
            losses.append(batch_gradient(prefix_cache, masters, batch, recipe.skip_below))
            # Not `>=`: a NaN is not learned, and it is to show in the epoch's loss, which ends it.
            if not losses[-1] < recipe.skip_below:
                optimizer.step()
                masters.write_back()
        epochs.append(_epoch(losses, len(rows), recipe))
        if _ends([epoch.loss for epoch in epochs], recipe):
            break
        # Rarely: a check reads neutral texts, which takes as long as some steps.
        if done % EVERY == 0 and done < recipe.epochs and collapsed():
            break
    return tuple(epochs)


def _ends(losses: Sequence[float], recipe: Recipe) -> bool:
    """Learned, or not learning: the loss is not finite, or still not below the first epoch's."""
    if losses[-1] < recipe.stop_below or not isfinite(losses[-1]):
        return True
    return len(losses) > PATIENCE and losses[-1] >= losses[0]


def batch_gradient(
    prefix_cache: PrefixCache, masters: MasterWeights, rows: Sequence[int], skip_below: float
) -> float:
    """The loss of one batch, and its gradient in the master weights unless the loss is below the
    threshold, where nothing is to be stepped.

    A batch that is too long for the prefix cache's `tokens_at_once` goes through in pieces, whose
    gradients add up to the same mean.
    """
    total = 0.0
    pieces = list(prefix_cache.batches(rows))
    for piece in pieces:
        # By the size of the whole batch: the gradients of pieces then add up to its mean's.
        loss = answer_losses(prefix_cache, prefix_cache.batch(piece)).sum() / len(rows)
        total += float(loss.detach())
        # Only the last piece tells the batch's loss; earlier ones may have left gradients.
        if piece is pieces[-1] and total < skip_below:
            masters.drop_gradients()
            return total
        loss.backward()
    masters.collect_gradients()
    return total


def _epoch(losses: Sequence[float], rows: int, recipe: Recipe) -> Epoch:
    # Weighted by rows, as the last batch may be smaller.
    sizes = [min(recipe.batch, rows - start) for start in range(0, rows, recipe.batch)]
    weighted = sum(loss * size for loss, size in zip(losses, sizes, strict=True))
    skipped = sum(loss < recipe.skip_below for loss in losses)
    return Epoch(weighted / rows, len(losses) - skipped, skipped)
