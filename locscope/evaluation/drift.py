"""How far a tuned model has moved on texts that have nothing to do with the edits."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.head import logits
from locscope.forward.packed import NO_LABEL
from locscope.forward.prefix_cache import PrefixCache, chunks

Texts = Literal["all", "choose", "report"]
HALVES: dict[Texts, slice] = {
    "all": slice(None),
    "choose": slice(0, None, 2),
    "report": slice(1, None, 2),
}
"""Which neutral texts are read: rates that are chosen by some are held against bounds on others."""

POSITIONS = 256
"""Tokens whose logits are held at a time: some 130 MB each of several tensors at 128k words."""


@dataclass(frozen=True)
class NeutralRows:
    """Rows of a sheet: the texts as the model reads them, and the same without special tokens."""

    texts: tuple[int, ...]
    bare: tuple[int, ...]

    def half(self, texts: Texts) -> "NeutralRows":
        """Those of some of the texts."""
        part = HALVES[texts]
        return NeutralRows(self.texts[part], self.bare[part])

    def first(self, count: int) -> "NeutralRows":
        """Those of the first texts, without the bare ones."""
        return NeutralRows(self.texts[:count], ())


@dataclass(frozen=True)
class Drift:
    """Per text: summed loss (nats) and tokens, KL(untouched || tuned) summed over tokens (nats).

    `perplexities` are those of the bare texts, one each, over tokens 2..T without any BOS
    (ME-PPL, arXiv 2402.09656, `ppl.py`).
    """

    losses: tuple[float, ...]
    divergences: tuple[float, ...]
    tokens: tuple[int, ...]
    perplexities: tuple[float, ...]

    def half(self, texts: Texts) -> "Drift":
        """That of some of the texts."""
        part = HALVES[texts]
        return Drift(
            losses=self.losses[part],
            divergences=self.divergences[part],
            tokens=self.tokens[part],
            perplexities=self.perplexities[part],
        )

    def first(self, count: int) -> "Drift":
        """That of the first texts, without the bare ones."""
        return Drift(self.losses[:count], self.divergences[:count], self.tokens[:count], ())


@dataclass(frozen=True)
class Untouched:
    """Final hidden states of the untouched model at every scored token of every text (host).

    `model` is whose head turns them into logits: heads are never tuned here, but a model that was
    edited elsewhere may have another.
    """

    states: tuple[Float[Tensor, "_ width"], ...]
    model: PreTrainedModel

    def half(self, texts: Texts) -> "Untouched":
        """What it thinks of some of the texts."""
        return Untouched(self.states[HALVES[texts]], self.model)

    def first(self, count: int) -> "Untouched":
        """What it thinks of the first texts."""
        return Untouched(self.states[:count], self.model)


@torch.no_grad()
def remember(prefix_cache: PrefixCache, rows: Sequence[int]) -> Untouched:
    """Keeps what the untouched model thinks of the texts: states, from which logits follow."""
    found: dict[int, Tensor] = {}
    for some in chunks(prefix_cache.packed.lengths, rows, prefix_cache.tokens_at_once):
        batch = prefix_cache.batch(some)
        hidden, scored = prefix_cache.final(batch), batch.labels != NO_LABEL
        for i, row in enumerate(some):
            found[row] = hidden[i][scored[i]].cpu()
    return Untouched(tuple(found[row] for row in rows), prefix_cache.model)


@torch.no_grad()
def drift(prefix_cache: PrefixCache, rows: NeutralRows, untouched: Untouched) -> Drift:
    """Losses and divergence of the model as it is now."""
    texts, bare = _read(prefix_cache, rows.texts, untouched), _read(prefix_cache, rows.bare)
    return Drift(
        losses=tuple(one.loss for one in texts),
        divergences=tuple(one.divergence for one in texts),
        tokens=tuple(one.tokens for one in texts),
        perplexities=tuple(_perplexity(one.loss / one.tokens) for one in bare),
    )


@torch.no_grad()
def mean_loss(prefix_cache: PrefixCache, rows: Sequence[int]) -> float:
    """Nats a token of the model as it is now, over all of these texts; NaN without any."""
    read = _read(prefix_cache, rows)
    tokens = sum(one.tokens for one in read)
    return sum(one.loss for one in read) / tokens if tokens else nan


@dataclass(frozen=True)
class _Text:
    """Of one text: loss and divergence, in nats summed over its tokens."""

    loss: float
    divergence: float
    tokens: int


def _read(
    prefix_cache: PrefixCache, rows: Sequence[int], untouched: Untouched | None = None
) -> list[_Text]:
    """The texts in their order; divergence is NaN without the `untouched` model's states."""
    found: dict[int, _Text] = {}
    before = dict(zip(rows, untouched.states, strict=True)) if untouched else {}
    for some in chunks(prefix_cache.packed.lengths, rows, prefix_cache.tokens_at_once):
        batch = prefix_cache.batch(some)
        scored = batch.labels != NO_LABEL
        base = torch.cat([before[row] for row in some]) if untouched else None
        model = untouched.model if untouched else prefix_cache.model
        nats = _nats(
            prefix_cache.model, prefix_cache.final(batch)[scored], batch.labels[scored], model, base
        )
        counts = scored.sum(1).tolist()
        for row, part in zip(some, nats.split(counts), strict=True):
            loss, divergence = part.sum(0).tolist()
            found[row] = _Text(loss, divergence, len(part))
    return [found[row] for row in rows]


def _nats(
    model: PreTrainedModel,
    states: Float[Tensor, "tokens width"],
    labels: Int[Tensor, " tokens"],
    untouched: PreTrainedModel,
    base: Float[Tensor, "tokens width"] | None,
) -> Float64[Tensor, "tokens 2"]:
    """Loss of every token and KL(untouched || tuned) there, NaN without `base`.

    In pieces: all logits of a large vocabulary take gigabytes, those of a text are too few to keep
    a processor busy.
    """
    found = []
    for place in torch.arange(len(labels)).split(POSITIONS):
        logp = logits(model, states[place]).log_softmax(-1)
        loss = -logp.gather(1, labels[place, None])[:, 0].double()
        divergence = torch.full_like(loss, nan)
        if base is not None:
            held = base[place].to(untouched.device)
            known = logits(untouched, held).log_softmax(-1).to(logp.device)
            divergence = (known.exp() * (known - logp)).sum(-1, dtype=torch.float64)
        found.append(torch.stack([loss, divergence], 1).cpu())
    return torch.cat(found)


def _perplexity(nats: float) -> float:
    return float(torch.tensor(nats, dtype=torch.float64).exp())
