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

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import tokens_worth
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext
from locscope.scoring.statistics import mean_intervals
from locscope.tuning.importance import RATE, UNITS, Text, gate_slopes
from locscope.tuning.matrices import leaves_of

WEIGHT = 0.1
"""CoFiTune: the weight of the divergence."""

WORTH = partial(tokens_worth, states=12, backward=True, logits=3)
"""Two dropout masks and their products, the products of the gates, and per token of either pass the
log-probabilities, their terms and gradients (half as many of both)."""

_DROPPED = ("attn_out", "mlp_out")


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
            lambda text: WORTH(context.loaded.model, len(text), rows=2),
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
    """Of every text, in nats per token: the means over mlp.up and over mlp.down, then each head."""
    model, layers = context.loaded.model, range(context.loaded.info.layers)
    leaves = [leaf for n in layers for leaf in leaves_of(model, n) if leaf.part in UNITS]
    slopes = gate_slopes(model, texts, leaves, partial(_draws, context))
    tokens = torch.tensor([len(text) for text in texts])
    up, down, heads = (
        WEIGHT
        * torch.stack(
            [s.abs().cpu() for leaf, s in zip(leaves, slopes, strict=True) if leaf.part == part], 1
        )
        / tokens[:, None, None]
        for part in UNITS
    )
    columns = [up.mean(2, keepdim=True), down.mean(2, keepdim=True), heads]
    return list(torch.cat(columns, dim=2))


def _draws(context: ScanContext, text: Text) -> Iterator[Float[Tensor, "2 tokens width"]]:
    """The factors of a text by the seed of the scan."""
    info = context.loaded.info
    for layer in range(info.layers):
        for kind in _DROPPED:
            both = [dropout_mask(text, n, kind, layer, info.width, context.seed) for n in (0, 1)]
            yield torch.from_numpy(np.stack(both))


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
