"""Breadth-first tuning: epochs over all edits in mini-batches, at one location.

Source: LocFT-BF (arXiv 2509.22072, section 2; code `fine-tune.py`): cross-entropy on target and EOS
tokens, per-example token mean, then batch mean; Adam without decay at a constant rate; every epoch
shuffled; a batch whose loss is below 1e-2 is skipped, and tuning stops when the epoch's mean is.
"""

from collections.abc import Sequence
from math import isfinite

import torch

from locscope.forward.losses import answer_losses
from locscope.forward.prefix_cache import Trunk, chunks
from locscope.records import Epoch, Recipe
from locscope.tuning.collapse import Lost, never
from locscope.tuning.master_weights import Masters

EVERY = 5
"""Epochs between two questions whether the model is lost."""
PATIENCE = 5
"""Epochs within which the loss has to fall below that of the first."""


def tune(
    trunk: Trunk,
    masters: Masters,
    rows: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    lost: Lost = never,
) -> tuple[Epoch, ...]:
    """Tunes the masters on the rows of the trunk's sheet, which stands below all of them.

    Ends early where the model has learned, does not learn, or is `lost`.
    """
    optimizer = torch.optim.Adam(masters.values, lr=recipe.lr)
    order = torch.Generator().manual_seed(seed)
    epochs: list[Epoch] = []
    for done in range(1, recipe.epochs + 1):
        shuffled = torch.randperm(len(rows), generator=order).tolist()
        batches = [
            [rows[i] for i in shuffled[start : start + recipe.batch]]
            for start in range(0, len(rows), recipe.batch)
        ]
        epochs.append(_epoch(trunk, masters, optimizer, batches, recipe))
        if _ends([epoch.loss for epoch in epochs], recipe):
            break
        if done % EVERY == 0 and done < recipe.epochs and lost():
            break
    return tuple(epochs)


def _ends(losses: Sequence[float], recipe: Recipe) -> bool:
    """Learned, or not learning: the loss is no number, or still not below the first epoch's."""
    if losses[-1] < recipe.stop_below or not isfinite(losses[-1]):
        return True
    return len(losses) > PATIENCE and losses[-1] >= losses[0]


def step(
    trunk: Trunk,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[int],
    skip_below: float,
) -> float:
    """One optimiser step on one batch, unless its loss is below the threshold; returns the loss.

    A batch that is too long for the trunk's `tokens_at_once` goes through in pieces, whose
    gradients add up to the same mean.
    """
    total, pieces = 0.0, list(chunks(trunk.sheet.lengths, rows, trunk.tokens_at_once))
    for some in pieces:
        loss = answer_losses(trunk, trunk.batch(some)).sum() / len(rows)
        total += float(loss.detach())
        if some is pieces[-1] and total < skip_below:
            masters.drop_gradients()
            return total
        loss.backward()
    masters.collect_gradients()
    optimizer.step()
    masters.write_back()
    return total


def _epoch(
    trunk: Trunk,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    batches: list[list[int]],
    recipe: Recipe,
) -> Epoch:
    losses = [step(trunk, masters, optimizer, rows, recipe.skip_below) for rows in batches]
    weighted = sum(loss * len(rows) for loss, rows in zip(losses, batches, strict=True))
    skipped = sum(loss < recipe.skip_below for loss in losses)
    return Epoch(weighted / sum(map(len, batches)), len(batches) - skipped, skipped)
