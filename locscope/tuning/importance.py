"""How much general ability depends on each unit of a layer: what a soft mask slows down.

Source: CoFiTune (arXiv 2404.10306). A neutral text is read twice, each time with its own dropout on
what every attention and MLP adds to the residual stream. Every unit has a gate of 1, the same in
both passes and at all tokens. The importance of a unit is how much the agreement of the passes
changes with its gate: |d KL(first || second) / d gate| per token, a mean over texts. Units are the
rows of mlp.up and of mlp.down, and the heads, by the columns of attention's output. A mask takes
them per layer and kind: I = tanh(z) where the z-score is above 0, else 0.

The scan `dropout-kl` reports the same derivative (`gate_slopes`), with its own draws of dropout.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.blocks import replaced_modules, run_blocks
from locscope.forward.head import logits
from locscope.forward.packed import PackedTokens, TokenRow, pack
from locscope.forward.prefix_cache import pad
from locscope.models.parts import blocks, family_of
from locscope.models.structure.choices import is_mixture
from locscope.tuning.matrices import Matrix, leaves_of, row_count

RATE = 0.003
"""CoFiTune's dropout."""
TEXTS = 64
"""Neutral texts that are read, at most."""
UNITS = ("mlp.up", "mlp.down", "attn.o")

Text = tuple[int, ...]
Draws = Callable[[Text], Iterable[Float[Tensor, "2 tokens width"]]]
"""Factors of dropout for a text in both passes: for what attention adds in layer 0, its MLP, and so
on upwards."""
ByUnit = Mapping[tuple[int, str], Float[Tensor, " units"]]
"""By layer and part of `UNITS`: the importance of its units, each in 0..1."""


@final
class Importances:
    """The importance of units by layer, measured when it is first needed.

    The model must be untouched then. `rows` are those of the neutral texts.
    """

    def __init__(self, model: PreTrainedModel, packed: PackedTokens, rows: Sequence[int]) -> None:
        self.model = model
        spans = [(int(packed.offsets[row]), int(packed.offsets[row + 1])) for row in rows[:TEXTS]]
        self.texts = [tuple(packed.ids[first:stop].tolist()) for first, stop in spans]
        self._measured: dict[tuple[int, str], Tensor] = {}

    def of(self, layers: Sequence[int]) -> ByUnit:
        """That of these layers; nothing is important where there are no texts to tell by."""
        wanted = sorted(set(layers))
        # Each layer once, whichever trial is the first to need it: the model is untouched only
        # then.
        missing = [layer for layer in wanted if (layer, UNITS[0]) not in self._measured]
        if missing:
            self._measured |= self._measure(missing)
        return {(layer, part): self._measured[layer, part] for layer in wanted for part in UNITS}

    def _measure(self, layers: Sequence[int]) -> dict[tuple[int, str], Tensor]:
        leaves = [leaf for n in layers for leaf in leaves_of(self.model, n) if leaf.part in UNITS]
        # On the CPU and in float32: a model in half precision would round the texts' shares away.
        sums = [torch.zeros(unit_count(self.model, leaf)) for leaf in leaves]
        for text in self.texts:
            slopes = gate_slopes(self.model, [text], leaves, drawn_by_text(self.model))
            for total, (of_text,) in zip(sums, slopes, strict=True):
                total.add_(of_text.abs().cpu(), alpha=1 / len(text))
        return {(leaf.layer, leaf.part): _scaled(s) for leaf, s in zip(leaves, sums, strict=True)}


def unit_count(model: PreTrainedModel, leaf: Matrix) -> int:
    """The units of one of the matrices in `UNITS`."""
    if leaf.part == "attn.o":
        return model.config.get_text_config().num_attention_heads
    return row_count(model, leaf.slices[0])


def drawn_by_text(model: PreTrainedModel) -> Draws:
    """Dropout that is the same for a text whatever else is asked of it."""
    width = model.config.get_text_config().hidden_size

    def draws(text: Text) -> Iterator[Tensor]:
        drawn = torch.Generator().manual_seed(random.Random(str([*text])).getrandbits(63))
        for _ in added(model):
            # Drawn on the CPU, so that every device sees the same.
            stays = torch.rand(2, len(text), width, generator=drawn) >= RATE
            yield stays / (1 - RATE)

    return draws


def gate_slopes(
    model: PreTrainedModel, texts: Sequence[Text], leaves: Sequence[Matrix], draws: Draws
) -> list[Float[Tensor, "texts units"]]:
    """d KL(first || second) / d gate of every unit of these matrices, for each of the texts.

    In nats, summed over its tokens. Both passes of all texts are one run, and one backward pass
    reaches the gates of every text, as each text has its own.
    """
    device = model.device
    gates = [torch.ones(len(texts), unit_count(model, n), device=device) for n in leaves]
    for gate in gates:
        gate.requires_grad_(True)
    modules = {
        _module(leaf): _Gated(model, leaf, gate) for leaf, gate in zip(leaves, gates, strict=True)
    }
    with (
        torch.enable_grad(),
        replaced_modules(model, modules),
        divergence(model, texts, draws) as nats,
    ):
        return list(torch.autograd.grad(nats, gates))


@contextmanager
def divergence(
    model: PreTrainedModel, texts: Sequence[Text], draws: Draws
) -> Iterator[Float[Tensor, ""]]:
    """KL(first || second) of two passes with dropout, summed over all tokens of texts, in nats.

    It is differentiated within the context: a streamed model runs its blocks again on the way back,
    and they have to drop then what they dropped before.
    """
    rows = pack([TokenRow(text, 1) for text in (*texts, *texts)])
    both = pad(rows, range(2 * len(texts)), model.device)
    dropping = {
        path: _Dropping(model.get_submodule(path), _side_by_side(of_path, both.ids.shape[1]))
        for path, of_path in zip(added(model), zip(*map(draws, texts), strict=True), strict=True)
    }
    with replaced_modules(model, dropping):
        hidden = run_blocks(model, both.ids)
        halves = zip(hidden.split(len(texts)), both.real.split(len(texts)), strict=True)
        first, second = (logits(model, half[real]).log_softmax(-1) for half, real in halves)
        yield (first.exp() * (first - second)).sum()


def added(model: PreTrainedModel) -> list[str]:
    """Paths of the modules that put out what is added to the stream, from layer 0 up: those of
    attention and MLP, or the norms behind them (Gemma 2 and 3, OLMo 2)."""
    family = family_of(model)
    paths: list[str] = []
    for n, block in enumerate(blocks(model)):
        names = (family.leaves.get("attn.o", family.attention), _last_of_mlp(model, n))
        # Elsewhere `post_attention_layernorm` is the norm before the MLP.
        if hasattr(block, "post_feedforward_layernorm"):
            names = ("post_attention_layernorm", "post_feedforward_layernorm")
        paths += [f"{family.blocks}.{n}.{name}" for name in names]
    return paths


def _last_of_mlp(model: PreTrainedModel, layer: int) -> str:
    family = family_of(model)
    mixture = is_mixture(blocks(model)[layer], family)
    return family.mlp if mixture else family.leaves.get("mlp.down", family.mlp)


def _module(leaf: Matrix) -> str:
    return leaf.slices[0].name.rpartition(".")[0]


def _side_by_side(
    factors: Sequence[Float[Tensor, "2 _ width"]], length: int
) -> Float[Tensor, "both length width"]:
    """Factors of texts, those of all first passes and then of all second ones, padded on the
    right."""
    padded = [nn.functional.pad(of, (0, 0, 0, length - of.shape[1])) for of in factors]
    return torch.stack(padded, 1).flatten(0, 1)


@final
class _Gated(nn.Module):
    """A matrix whose units are multiplied by gates (texts, units), the same in both passes."""

    def __init__(self, model: PreTrainedModel, leaf: Matrix, gate: Tensor) -> None:
        super().__init__()
        self.module, self.gate = model.get_submodule(_module(leaf)), gate
        self.inputs = leaf.part == "attn.o"
        # Where up is fused with the MLP's gate its rows are some of the module's outputs.
        ranges = leaf.slices[0].ranges
        self.first = ranges[0][0] if ranges else 0

    def forward(self, hidden: Tensor) -> Tensor:
        if self.inputs:
            return self.module(self._times(hidden))
        out, last = self.module(hidden), self.first + self.gate.shape[1]
        own = self._times(out[..., self.first : last])
        return torch.cat((out[..., : self.first], own, out[..., last:]), -1)

    def _times(self, values: Tensor) -> Tensor:
        both = self.gate.repeat(2, 1)
        # OPT lays the tokens of all rows behind one another before its matrices.
        rows = both.repeat_interleave(len(values) // len(both), 0)
        wide = rows.repeat_interleave(values.shape[-1] // rows.shape[1], 1)
        wide = wide.view(len(values), *[1] * (values.dim() - 2), -1)
        return (values * wide).to(values.dtype)


@final
class _Dropping(nn.Module):
    """A module with dropout on its output; each row of the batch is a pass with its own."""

    def __init__(self, module: nn.Module, factors: Float[Tensor, "rows seq width"]) -> None:
        super().__init__()
        self.module, self.factors = module, factors

    def forward(self, *args: Any, **more: Any) -> Any:
        out = self.module(*args, **more)
        if isinstance(out, tuple):
            return self._drop(out[0]), *out[1:]
        return self._drop(out)

    def _drop(self, out: Tensor) -> Tensor:
        return out * self.factors.reshape(out.shape).to(out)


def _scaled(sums: Float[Tensor, " units"]) -> Float[Tensor, " units"]:
    # The smallest number where all units are alike, as without texts: their z-score is 0 then.
    z = (sums - sums.mean()) / sums.std(correction=0).clamp(min=torch.finfo(sums.dtype).tiny)
    return z.clamp(min=0).tanh()
