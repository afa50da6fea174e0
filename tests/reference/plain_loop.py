"""Slow and obvious: whole forwards, left padding with a mask, logits of all tokens, Adam by hand.

The stop token is an input here and a shifted label, as in LocFT-BF's code; locscope's rows never
feed it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from locscope.forward.packed import TokenRow
from locscope.records import Epoch, Recipe

IGNORED = -100


def padded(rows: Sequence[TokenRow], side: str = "left") -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and labels (already shifted: what each position should predict)."""
    longest = max(len(row.ids) for row in rows) + 1
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for i, row in enumerate(rows):
        whole = [*row.ids, row.final]
        first = longest - len(whole) if side == "left" else 0
        last = first + len(whole)
        ids[i, first:last] = torch.tensor(whole)
        mask[i, first:last] = 1
        labels[i, first + row.answer - 1 : last - 1] = torch.tensor(whole[row.answer :])
    return ids, mask, labels


def plain_losses(model: PreTrainedModel, rows: Sequence[TokenRow], side: str = "left") -> Tensor:
    """Mean loss of target and stop tokens of every row."""
    ids, mask, labels = padded(rows, side)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
    losses = F.cross_entropy(
        logits.logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return losses.sum(1) / (labels != IGNORED).sum(1)


def plain_gradients(
    model: PreTrainedModel, names: Sequence[str], rows: Sequence[TokenRow], side: str = "left"
) -> dict[str, Tensor]:
    """Gradient of the batch mean, for whole parameters."""
    parameters = [model.get_parameter(name) for name in names]
    for parameter in parameters:
        parameter.requires_grad_(True)
    found = torch.autograd.grad(plain_losses(model, rows, side).mean(), parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return dict(zip(names, found, strict=True))


class HandAdam:
    """Kingma and Ba, algorithm 1, with torch's constants."""

    def __init__(self, parameters: dict[str, Tensor], lr: float) -> None:
        self.parameters, self.lr, self.steps = parameters, lr, 0
        self.first = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, parameter in self.parameters.items():
            gradient = gradients[name]
            self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
            self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
            mean = self.first[name] / (1 - 0.9**self.steps)
            spread = self.second[name] / (1 - 0.999**self.steps)
            parameter.sub_(self.lr * mean / (spread.sqrt() + 1e-8))


def plain_breadth_first(
    model: PreTrainedModel,
    names: Sequence[str],
    rows: Sequence[TokenRow],
    recipe: Recipe,
    seed: int,
) -> list[Epoch]:
    """Tunes whole parameters of the model in place."""
    adam = HandAdam({name: model.get_parameter(name) for name in names}, recipe.lr)
    order, epochs = torch.Generator().manual_seed(seed), []
    for _ in range(recipe.epochs):
        total, steps, skipped = 0.0, 0, 0
        for picked in torch.randperm(len(rows), generator=order).split(recipe.batch):
            batch = [rows[i] for i in picked.tolist()]
            with torch.no_grad():
                loss = float(plain_losses(model, batch).mean())
            total += loss * len(batch)
            if loss < recipe.skip_below:
                skipped += 1
                continue
            adam.step(plain_gradients(model, names, batch))
            steps += 1
        epochs.append(Epoch(total / len(rows), steps, skipped))
        if epochs[-1].loss < recipe.stop_below:
            break
    return epochs


def plain_depth_first(
    model: PreTrainedModel,
    names: Sequence[str],
    rows: Sequence[TokenRow],
    recipe: Recipe,
    seed: int,
) -> None:
    """Row after row, each with a fresh Adam until its loss is below the threshold."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    for i in order.tolist():
        adam = HandAdam({name: model.get_parameter(name) for name in names}, recipe.lr)
        for _ in range(recipe.epochs):
            with torch.no_grad():
                if float(plain_losses(model, [rows[i]]).mean()) < recipe.stop_below:
                    break
            adam.step(plain_gradients(model, names, [rows[i]]))


@torch.no_grad()
def plain_greedy(
    model: PreTrainedModel, prompt: Sequence[int], limit: int, stops: Sequence[int]
) -> tuple[int, ...]:
    """What `generate` says after one prompt, its stop token included; every processor off."""
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=limit, eos_token_id=list(stops), pad_token_id=stops[0]
    )
    ids = torch.tensor([list(prompt)])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    return tuple(out[0, len(prompt) :].tolist())
