"""How far a tuned model has moved on neutral texts: texts that no edit is about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.head import logits
from locscope.forward.packed import NO_LABEL
from locscope.forward.prefix_cache import PrefixCache

Texts = Literal["all", "choose", "report"]
HALVES: dict[Texts, slice] = {
    "all": slice(None),
    "choose": slice(0, None, 2),
    "report": slice(1, None, 2),
}
"""Which neutral texts are read: bounds that a choice kept on some are checked on the others."""

POSITIONS = 256
"""Tokens whose logits are in memory at a time: several tensors of some 130 MB at 128k words."""


@dataclass(frozen=True)
class NeutralTexts:
    """Rows of the texts as the model reads them, those without special tokens, and what the
    untouched model makes of them.

    `states` are its final hidden states at every scored token of every text (on the host). `model`
    is whose head turns them into logits: heads are never tuned here, but a model that was edited
    elsewhere may have another one.
    """

    texts: tuple[int, ...]
    bare: tuple[int, ...]
    states: tuple[Float[Tensor, "_ width"], ...]
    model: PreTrainedModel

    def half(self, texts: Texts) -> "NeutralTexts":
        """Those on which is chosen, or those on which is reported."""
        part = HALVES[texts]
        return replace(self, texts=self.texts[part], bare=self.bare[part], states=self.states[part])

    def first(self, count: int) -> "NeutralTexts":
        """The first texts, without the bare ones."""
        return replace(self, texts=self.texts[:count], bare=(), states=self.states[:count])


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
        """That of one half of the texts."""
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


@torch.no_grad()
def remember(prefix_cache: PrefixCache, texts: Sequence[int], bare: Sequence[int]) -> NeutralTexts:
    """Keeps what the untouched model makes of the texts, as states: its logits follow from them."""
    # States, not logits: a vocabulary of 128k is some hundred times as wide as a state.
    states: dict[int, Tensor] = {}
    for rows in prefix_cache.batches(texts):
        batch = prefix_cache.batch(rows)
        hidden, scored = prefix_cache.final(batch), batch.labels != NO_LABEL
        for i, row in enumerate(rows):
            states[row] = hidden[i][scored[i]].cpu()
    return NeutralTexts(
        tuple(texts), tuple(bare), tuple(states[row] for row in texts), prefix_cache.model
    )


@torch.no_grad()
def drift(prefix_cache: PrefixCache, neutral: NeutralTexts, *, untouched: bool = False) -> Drift:
    """Losses and divergence of the model as it is now; where it is `untouched`, from the states
    that are kept of it.

    Where no token is special, a bare text is the text itself and is not read again.
    """
    texts = _read(prefix_cache, neutral.texts, neutral, untouched=untouched)
    same = neutral.bare == neutral.texts
    bare = texts if same else _read(prefix_cache, neutral.bare)
    # One sum a text for both columns, so that a loss has the same bits with and without divergence.
    sums = [nats.sum(0).tolist() for nats in texts]
    return Drift(
        losses=tuple(loss for loss, _ in sums),
        divergences=tuple(divergence for _, divergence in sums),
        tokens=tuple(map(len, texts)),
        perplexities=tuple(_perplexity(nats.sum(0).tolist()[0] / len(nats)) for nats in bare),
    )


@torch.no_grad()
def mean_loss(prefix_cache: PrefixCache, rows: Sequence[int]) -> float:
    """Nats a token of the model as it is now, over all of these texts; NaN without any."""
    texts = _read(prefix_cache, rows)
    tokens = sum(map(len, texts))
    return sum(nats.sum(0).tolist()[0] for nats in texts) / tokens if tokens else nan


def _read(
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    neutral: NeutralTexts | None = None,
    *,
    untouched: bool = False,
) -> list[Float64[Tensor, "tokens 2"]]:
    """Of every text, token by token, loss and divergence in nats; the latter is NaN without the
    `neutral` texts' states, and 0 where these are the model's own."""
    by_row: dict[int, Tensor] = {}
    before = dict(zip(rows, neutral.states, strict=True)) if neutral else {}
    for part in prefix_cache.batches(rows):
        batch = prefix_cache.batch(part)
        scored = batch.labels != NO_LABEL
        base = torch.cat([before[row] for row in part]) if neutral else None
        model = neutral.model if neutral else prefix_cache.model
        if untouched and base is not None:
            nats = _nats(model, base.to(model.device), batch.labels[scored], model, None)
            nats[:, 1] = 0.0
        else:
            states = prefix_cache.final(batch)[scored]
            nats = _nats(prefix_cache.model, states, batch.labels[scored], model, base)
        by_row.update(zip(part, nats.split(scored.sum(1).tolist()), strict=True))
    return [by_row[row] for row in rows]


def _nats(
    model: PreTrainedModel,
    states: Float[Tensor, "tokens width"],
    labels: Int[Tensor, " tokens"],
    untouched: PreTrainedModel,
    base: Float[Tensor, "tokens width"] | None,
) -> Float64[Tensor, "tokens 2"]:
    """Loss of every token and KL(untouched || tuned) there, NaN without `base`.

    In pieces: all logits of a large vocabulary take gigabytes, and those of a single text are too
    few to keep a processor busy.
    """
    pieces = []
    for at in torch.arange(len(labels)).split(POSITIONS):
        logp = logits(model, states[at]).log_softmax(-1)
        loss = -logp.gather(1, labels[at, None])[:, 0].double()
        divergence = torch.full_like(loss, nan)
        if base is not None:
            before = logits(untouched, base[at].to(untouched.device))
            base_logp = before.log_softmax(-1).to(logp.device)
            divergence = (base_logp.exp() * (base_logp - logp)).sum(-1, dtype=torch.float64)
        pieces.append(torch.stack([loss, divergence], 1).cpu())
    return torch.cat(pieces)


def _perplexity(nats: float) -> float:
    # Not math.exp, which raises where a double ends.
    return float(torch.tensor(nats, dtype=torch.float64).exp())
