"""Dropout KL: the units on which the agreement of two passes with dropout depends.

A text is run twice, each time with its own dropout on what every block's attention and MLP add to
the residual stream; L = 0.1 KL(first || second), summed over the text's tokens. Every unit has a
gate g = 1, the same in both passes and at all tokens. Its importance is |dL/dg| of a text per
token, in nats. No labels are needed.

Units are the outputs of mlp.up and of mlp.down, and the attention heads. A location's score is the
mean importance of its units, so that a part of many units is not ahead by their number.

Deviations from CoFiTune's code: absolute values are taken text by text (there signed sums cancel
between batches), and means are reported as they are. Its z-score within a layer and |tanh|, meant
for a mask on the gradients of training, would make all layers alike.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import Holds
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import Batch, pad
from locscope.interp.hooked_model import HookFn, hook_name, with_hooks
from locscope.models.parts import parts
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext
from locscope.scoring.statistics import mean_intervals
from locscope.tuning.importance import RATE, summed_kl

WEIGHT = 0.1
"""CoFiTune: the weight of the divergence."""

HOLDS = Holds(states=12, backward=True, logits=3)
"""Two dropout masks and their products, the products of the gates, and per token of either pass the
log-probabilities, their terms and gradients (half as many of both)."""

_DROPPED = ("attn_out", "mlp_out")
_DOWN = "blocks.{}.mlp.hook_out"
_UNGATED_UP = "blocks.{}.mlp.hook_pre"

Text = tuple[int, ...]


def scan(context: ScanContext) -> Findings:
    """Scores of mlp.up, mlp.down, every head, and attn, which is the mean of its heads.

    Means, intervals and `count` are over neutral texts. Edits play no part, so there are no values
    of single requests.
    """
    packed, rows = context.suite.packed, context.suite.neutral.texts
    if not rows:
        return Findings((), 0, notes=("no neutral texts: there is nothing to read twice",))
    spans = [(int(packed.offsets[row]), int(packed.offsets[row + 1])) for row in rows]
    texts = [tuple(packed.ids[first:stop].tolist()) for first, stop in spans]
    importances = torch.stack(
        context.batched(
            "dropout KL",
            texts,
            lambda batch: _importances(context, batch),
            lambda text: HOLDS.tokens(context.loaded.model, len(text), rows=2),
        )
    )
    up, down, heads = importances[..., 0], importances[..., 1], importances[..., 2:]
    return Findings(
        scores=(
            *_scores(context, "mlp.up", up),
            *_scores(context, "mlp.down", down),
            *_scores(context, "attn", heads.mean(2)),
            *_scores(context, "attn", heads),
        ),
        usable=len(context.edits),
        settings=f"dropout {RATE} on attention and MLP outputs, {len(texts)} neutral texts",
    )


def dropout_mask(
    text: Text, which: int, kind: str, layer: int, width: int, seed: int
) -> Float[np.ndarray, "tokens width"]:
    """The dropout factors of one activation of one text in the first or second pass (0, 1)."""
    # Drawn by text, so that the batch decides nothing, and when needed, so that the numbers of one
    # activation alone are held.
    key = [seed, which, _DROPPED.index(kind), layer, *text]
    stays = np.random.default_rng(key).random((len(text), width), dtype=np.float32) >= RATE
    return stays.astype(np.float32) / np.float32(1 - RATE)


def _importances(
    context: ScanContext, texts: Sequence[Text]
) -> list[Float[Tensor, "layers columns"]]:
    """Of every text, in nats per token: the means over mlp.up and over mlp.down, then each head.

    One run over both passes of all texts, and one backward pass to the gates of every text.
    """
    hooked, count = context.hooked, len(texts)
    rows = pack([TokenRow(text, 1) for text in (*texts, *texts)])
    both = pad(rows, range(2 * count), context.loaded.model.device)
    gates: dict[str, Tensor] = {}
    with with_hooks(hooked, _gating(context, gates) | _dropping(context, texts)):
        hidden = run_blocks(hooked.bridged, both.ids)
    loss = WEIGHT * _divergence(context, hidden, both)
    named = dict(zip(gates, torch.autograd.grad(loss, list(gates.values())), strict=True))
    tokens = torch.tensor([len(text) for text in texts])
    up, down, heads = (
        torch.stack([named[name].abs().cpu() for name in names], 1) / tokens[:, None, None]
        for names in _gated(context)
    )
    columns = [up.mean(2, keepdim=True), down.mean(2, keepdim=True), heads]
    return list(torch.cat(columns, dim=2))


def _gated(context: ScanContext) -> tuple[list[str], list[str], list[str]]:
    """Hooks of the units, layer by layer: of mlp.up, of mlp.down and of the heads."""
    layers = range(context.hooked.layers)
    # Where up's output is multiplied by a gate, their product scales as it does; without a gate a
    # nonlinearity follows, so the units must be scaled before it.
    gated = "mlp.gate" in parts(context.loaded.model)
    up = [hook_name("neurons", n) if gated else _UNGATED_UP.format(n) for n in layers]
    return up, [_DOWN.format(n) for n in layers], [hook_name("z", n) for n in layers]


def _gating(context: ScanContext, gates: dict[str, Tensor]) -> dict[str, HookFn]:
    """Multiplies every unit by a gate of 1, left in `gates` as (texts, units)."""

    def gating(name: str) -> HookFn:
        def edit(value: Tensor) -> Tensor:
            count, units = value.shape[0] // 2, value.shape[2]
            gate = torch.ones(count, units, device=value.device, requires_grad=True)
            gates[name] = gate
            # The same gate in both passes of a text and at all tokens.
            wide = gate.repeat(2, 1).view(2 * count, 1, units, *[1] * (value.dim() - 3))
            return (value * wide).to(value.dtype)

        return edit

    return {name: gating(name) for names in _gated(context) for name in names}


def _dropping(context: ScanContext, texts: Sequence[Text]) -> dict[str, HookFn]:
    """Dropout on what blocks add to the residual stream, different in each of the two passes."""

    def dropping(kind: str, layer: int) -> HookFn:
        def edit(value: Tensor) -> Tensor:
            noise = torch.zeros(value.shape)
            for i, (which, text) in enumerate((w, t) for w in (0, 1) for t in texts):
                drawn = dropout_mask(text, which, kind, layer, value.shape[2], context.seed)
                noise[i, : len(text)] = torch.from_numpy(drawn)
            return value * noise.to(value)

        return edit

    layers = range(context.hooked.layers)
    return {hook_name(kind, n): dropping(kind, n) for n in layers for kind in _DROPPED}


def _divergence(
    context: ScanContext, hidden: Float[Tensor, "both seq width"], both: Batch
) -> Float[Tensor, ""]:
    """KL(first || second) summed over all tokens of all texts, in nats."""
    count = len(hidden) // 2
    first, second = (
        logits(context.loaded.model, half[real]).log_softmax(-1)
        for half, real in zip(hidden.split(count), both.real.split(count), strict=True)
    )
    return summed_kl(first, second)


def _scores(
    context: ScanContext,
    part: str,
    values: Float[Tensor, "texts layers"] | Float[Tensor, "texts layers heads"],
) -> list[ScanScore]:
    """Means over texts with intervals."""
    heads = values.shape[2] if values.dim() == 3 else 0
    intervals = mean_intervals(values.flatten(1).double().numpy(), seed=context.seed)
    return [
        ScanScore(
            "importance",
            i // heads if heads else i,
            part,
            interval.value,
            head=i % heads if heads else -1,
            low=interval.low,
            high=interval.high,
            count=interval.count,
        )
        for i, interval in enumerate(intervals)
    ]
