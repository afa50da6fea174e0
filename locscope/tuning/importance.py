"""How much general ability depends on each unit of a layer: what a soft mask slows down.

Source: CoFiTune (arXiv 2404.10306). A neutral text is read twice, each time with its own dropout on
what every attention and MLP puts out. The importance of a unit is how much the agreement of the two
passes changes when it is scaled: |d KL(first || second) / d gate| per token, a mean over texts. A
gate on a unit scales its weights, so the derivative is the sum of weight times gradient over them,
and no module needs a gate. Units are the rows of mlp.up and of mlp.down, and the heads, by the
columns of attention's output. Per layer and kind I = tanh(z) where the z-score is above 0, else 0.

The scan `dropout-kl` reports the same derivative, for all layers and in batches of texts, and has
its own draws of dropout. So the numbers of the two agree on average only.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.forward.blocks import replaced_modules, run_blocks
from locscope.forward.head import logits
from locscope.forward.packed import PackedTokens
from locscope.forward.prefix_cache import Budget
from locscope.interp.gradients import layer_groups, requiring_grad, weights_of
from locscope.models.parts import blocks, family_of, take
from locscope.models.structure.choices import is_mixture
from locscope.tuning.matrices import Matrix, as_matrix, blocks_path, leaves_of, row_count

RATE = 0.003
"""CoFiTune's dropout."""
TEXTS = 64
"""Neutral texts that are read, at most."""
UNITS = ("mlp.up", "mlp.down", "attn.o")


ByUnit = Mapping[tuple[int, str], Float[Tensor, " units"]]
"""By layer and part of `UNITS`: the importance of its units, each in 0..1."""


@final
class Importances:
    """The importance of units by layer, measured when it is first needed.

    The model must be untouched then. `rows` are those of the neutral texts.
    """

    def __init__(
        self, model: PreTrainedModel, packed: PackedTokens, rows: Sequence[int], budget: Budget
    ) -> None:
        self.model, self.budget = model, budget
        spans = [(int(packed.offsets[row]), int(packed.offsets[row + 1])) for row in rows[:TEXTS]]
        self.texts = [packed.ids[first:stop] for first, stop in spans]
        self._measured: dict[tuple[int, str], Tensor] = {}

    def of(self, layers: Sequence[int]) -> ByUnit:
        """That of these layers; nothing is important where there are no texts to tell by."""
        wanted = sorted(set(layers))
        # Each layer once, whichever trial is the first to need it: the model is untouched only
        # then.
        missing = [layer for layer in wanted if (layer, UNITS[0]) not in self._measured]
        for group in layer_groups(self.model, missing, self.budget, self.model.dtype.itemsize):
            self._measured |= self._measure(group)
        return {(layer, part): self._measured[layer, part] for layer in wanted for part in UNITS}

    def _measure(self, layers: Sequence[int]) -> dict[tuple[int, str], Tensor]:
        leaves = [leaf for n in layers for leaf in leaves_of(self.model, n) if leaf.part in UNITS]
        # On the CPU and in float32: a model in half precision would round the texts' shares away.
        sums = [torch.zeros(unit_count(self.model, leaf)) for leaf in leaves]
        for text in self.texts:
            for total, slopes in zip(sums, unit_slopes(self.model, text, leaves), strict=True):
                total.add_(slopes.abs().cpu(), alpha=1 / text.numel())
        return {(leaf.layer, leaf.part): _scaled(s) for leaf, s in zip(leaves, sums, strict=True)}


def unit_count(model: PreTrainedModel, leaf: Matrix) -> int:
    """The units of one of the matrices in `UNITS`."""
    if leaf.part == "attn.o":
        return model.config.get_text_config().num_attention_heads
    return row_count(model, leaf.slices[0])


def unit_slopes(
    model: PreTrainedModel, text: Int[Tensor, " tokens"], leaves: Sequence[Matrix]
) -> list[Float[Tensor, " units"]]:
    """d KL(first || second) / d gate of every unit of these matrices for one text.

    In nats, summed over tokens; a gate is the same in both passes and at all tokens.
    """
    inside = weights_of(model, sorted({leaf.layer for leaf in leaves}))
    weights = {piece.name: inside[piece.name] for leaf in leaves for piece in leaf.slices}
    with requiring_grad(weights):
        gradients = torch.autograd.grad(divergence(model, text), list(weights.values()))
    slopes = {
        name: weight.detach().float() * gradient.float()
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
    return [_by_unit(model, leaf, slopes) for leaf in leaves]


def divergence(model: PreTrainedModel, text: Int[Tensor, " tokens"]) -> Float[Tensor, ""]:
    """KL(first || second) of two passes with dropout, summed over a text's tokens, in nats."""
    # By text, so that it has the same dropout for every group of layers.
    drawn = torch.Generator().manual_seed(random.Random(str(text.tolist())).getrandbits(63))
    family, owner = family_of(model), blocks_path(model)
    paths = [
        f"{owner}.{n}.{name}"
        for n in range(len(blocks(model)))
        # What is added to the stream, which the whole module is not in every family.
        for name in (family.leaves.get("attn.o", family.attention), _last_of_mlp(model, n))
    ]
    dropping = {path: _Dropping(model.get_submodule(path), drawn) for path in paths}
    with replaced_modules(model, dropping):
        hidden = run_blocks(model, text.to(model.device).expand(2, -1))
    return summed_kl(*logits(model, hidden).log_softmax(-1))


def _last_of_mlp(model: PreTrainedModel, layer: int) -> str:
    family = family_of(model)
    mixture = is_mixture(blocks(model)[layer], family)
    return family.mlp if mixture else family.leaves.get("mlp.down", family.mlp)


def summed_kl(
    first: Float[Tensor, "*any vocabulary"], second: Float[Tensor, "*any vocabulary"]
) -> Float[Tensor, ""]:
    """KL(first || second) of log-probabilities, summed over all positions, in nats."""
    return (first.exp() * (first - second)).sum()


@final
class _Dropping(nn.Module):
    """A module with dropout on its output; each row of the batch is a pass with its own."""

    def __init__(self, module: nn.Module, drawn: torch.Generator) -> None:
        super().__init__()
        self.module, self.drawn = module, drawn

    def forward(self, *args: Any, **more: Any) -> Any:
        out = self.module(*args, **more)
        if isinstance(out, tuple):
            return self._drop(out[0]), *out[1:]
        return self._drop(out)

    def _drop(self, out: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device sees the same.
        stays = torch.rand(out.shape, generator=self.drawn) >= RATE
        return out * (stays / (1 - RATE)).to(out)


def _by_unit(
    model: PreTrainedModel, leaf: Matrix, slopes: Mapping[str, Tensor]
) -> Float[Tensor, " units"]:
    """Sums over the weights of every unit: rows with their biases, columns of a head."""
    weight, *bias = (take(slopes[piece.name], piece) for piece in leaf.slices)
    matrix = as_matrix(model, leaf.slices[0], weight)
    if leaf.part == "attn.o":
        return matrix.sum(0).view(unit_count(model, leaf), -1).sum(1)
    return sum(bias, matrix.sum(1))


def _scaled(sums: Float[Tensor, " units"]) -> Float[Tensor, " units"]:
    # The smallest number where all units are alike, as without texts: their z-score is 0 then.
    z = (sums - sums.mean()) / sums.std(correction=0).clamp(min=torch.finfo(sums.dtype).tiny)
    return z.clamp(min=0).tanh()
