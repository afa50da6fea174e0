"""How far a tuned model has moved on texts that have nothing to do with the edits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.engine.blocks import logits
from locscope.engine.texts import NO_LABEL
from locscope.engine.trunk import Batch, Trunk, chunks

Texts = Literal["all", "choose", "report"]
HALVES: dict[Texts, slice] = {
    "all": slice(None),
    "choose": slice(0, None, 2),
    "report": slice(1, None, 2),
}
"""Which neutral texts are read: rates that are chosen by some are held against bounds on others."""


@dataclass(frozen=True)
class NeutralRows:
    """Rows of a sheet: the texts as the model reads them, and the same without special tokens."""

    texts: tuple[int, ...]
    bare: tuple[int, ...]

    def half(self, texts: Texts) -> "NeutralRows":
        """Those of some of the texts."""
        part = HALVES[texts]
        return NeutralRows(self.texts[part], self.bare[part])


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
def remember(trunk: Trunk, rows: Sequence[int]) -> Untouched:
    """Keeps what the untouched model thinks of the texts: states, from which logits follow."""
    found: dict[int, Tensor] = {}
    for some in chunks(trunk.sheet.lengths, rows, trunk.tokens_at_once):
        batch = trunk.batch(some)
        hidden, scored = trunk.final(batch), batch.labels != NO_LABEL
        for i, row in enumerate(some):
            found[row] = hidden[i][scored[i]].cpu()
    return Untouched(tuple(found[row] for row in rows), trunk.model)


@torch.no_grad()
def drift(trunk: Trunk, rows: NeutralRows, untouched: Untouched) -> Drift:
    """Losses and divergence of the model as it is now."""
    losses: dict[int, float] = {}
    divergences: dict[int, float] = {}
    counts: dict[int, int] = {}
    base = dict(zip(rows.texts, untouched.states, strict=True))
    for some in chunks(trunk.sheet.lengths, (*rows.texts, *rows.bare), trunk.tokens_at_once):
        batch = trunk.batch(some)
        hidden = trunk.final(batch)
        for i, row in enumerate(some):
            logp, label = _logprobs(trunk, hidden[i], batch, i)
            losses[row] = -float(logp.gather(1, label[:, None]).double().sum())
            counts[row] = label.numel()
            if row in base:
                divergences[row] = _divergence(untouched.model, base[row], logp)
    return Drift(
        losses=tuple(losses[row] for row in rows.texts),
        divergences=tuple(divergences[row] for row in rows.texts),
        tokens=tuple(counts[row] for row in rows.texts),
        perplexities=tuple(_perplexity(losses[row] / counts[row]) for row in rows.bare),
    )


def _logprobs(
    trunk: Trunk, hidden: Float[Tensor, "seq width"], batch: Batch, i: int
) -> tuple[Tensor, Tensor]:
    scored = batch.labels[i] != NO_LABEL
    return logits(trunk.model, hidden[scored]).log_softmax(-1), batch.labels[i][scored]


def _divergence(
    model: PreTrainedModel,
    state: Float[Tensor, "tokens width"],
    logp: Float[Tensor, "tokens vocabulary"],
) -> float:
    """KL(untouched || tuned) summed over the tokens of one text, in nats."""
    base = logits(model, state.to(model.device)).log_softmax(-1).to(logp.device)
    return float((base.exp() * (base - logp)).double().sum())


def _perplexity(nats: float) -> float:
    return float(torch.tensor(nats, dtype=torch.float64).exp())
