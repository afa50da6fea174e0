"""LoFiT heads: which heads the edits would rescale if they could change nothing else.

Step A of LoFiT (arXiv 2406.01563, section 3.1): all weights are frozen, and the output z of every
head is scaled by one learned vector, z <- (1 + A) * z, before the attention's output matrix. The
loss is the edits' mean cross-entropy plus `PENALTY` times the L1 norm of all A; the optimiser is
Adam, with the constants of LoFiT's code for MQuAKE on Llama-2-7B. Variant `norm`: the Euclidean
norm of a head's A, at head -1 that of a layer's heads together. A is learned on all edits at once,
so there are no values of single requests and no intervals.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import in_batches, tokens_worth
from locscope.forward.blocks import run_blocks
from locscope.forward.head import answer_losses
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, recording, with_hooks
from locscope.progress import stage
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext

SPREAD = 1e-3
"""Standard deviation of A at the start."""
RATE = 5e-3
PENALTY = 1e-3
BATCH = 8
EPOCHS = 5
WORTH = partial(tokens_worth, states=4, backward=True, logits=3)
"""z in float32 and its product; logits of the answer, log-probabilities and gradients."""


def scan(context: ScanContext) -> Findings:
    """Scores of heads and layers after all epochs."""
    rows = [questions.target.index for questions in context.suite.of(context.edits)]
    scales = learned_scales(context, rows).double()
    heads, layers = scales.norm(dim=2), scales.flatten(1).norm(dim=1)
    table = torch.cat([layers[:, None], heads], dim=1).tolist()
    scores = tuple(
        ScanScore("norm", layer, "attn", norm, head=head, count=len(rows))
        for layer, norms in enumerate(table)
        for head, norm in enumerate(norms, start=-1)
    )
    steps = EPOCHS * -(-len(rows) // BATCH)
    return Findings(
        scores,
        usable=len(rows),
        settings=f"cross-entropy of the targets + {PENALTY} L1, Adam {RATE}, batch {BATCH}, "
        f"{EPOCHS} epochs, start N(0, {SPREAD})",
        notes=(
            "one vector per head learned on all edits together: no intervals",
            f"{steps} steps of Adam: its first ones are of one size for every head, so that the "
            "norms of few steps differ little",
        ),
    )


def learned_scales(
    context: ScanContext, rows: Sequence[int]
) -> Float[Tensor, "layers heads head_width"]:
    """A of every head after all epochs, on the CPU; the seed decides the order of the rows."""
    hooked = context.hooked
    prefix_cache = PrefixCache(
        hooked.bridged, context.suite.packed, tokens_at_once=context.tokens_at_once
    )
    # Drawn on the CPU, so that all devices see the same.
    generator = torch.Generator().manual_seed(context.seed)
    start = SPREAD * torch.randn(
        hooked.layers, *_head_shape(hooked, rows, prefix_cache), generator=generator
    )
    scales = start.to(hooked.bridged.device).requires_grad_(True)
    adam = torch.optim.Adam([scales], lr=RATE)
    with stage(context.progress, "LoFiT heads", EPOCHS * len(rows)):
        for _ in range(EPOCHS):
            for picked in torch.randperm(len(rows), generator=generator).split(BATCH):
                batch = [rows[i] for i in picked.tolist()]
                # Set, not accumulated: a batch may be run in pieces, and penalised only once.
                scales.grad = _gradient(hooked, prefix_cache, batch, scales)
                adam.step()
                for _ in batch:
                    context.progress.advance()
    return scales.detach().cpu()


def _gradient(
    hooked: HookedModel,
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    scales: Float[Tensor, "layers heads head_width"],
) -> Float[Tensor, "layers heads head_width"]:
    """The gradient of the rows' mean loss and the penalty, summed over batches that fit memory."""
    parts: list[Tensor] = []

    def run(batch: Sequence[int]) -> list[None]:
        with with_hooks(hooked, _scaling(hooked, scales)):
            loss = answer_losses(prefix_cache, prefix_cache.batch(batch)).sum() / len(rows)
        # Added once it is complete: a batch that does not fit is halved and run again.
        parts.append(torch.autograd.grad(loss, scales)[0])
        return [None for _ in batch]

    def size(row: int) -> int:
        return WORTH(hooked.model, int(prefix_cache.packed.lengths[row]))

    in_batches(rows, run, size=size, tokens_at_once=prefix_cache.tokens_at_once)
    # The penalty's slope by hand: it has to come once a step, not once a piece.
    return torch.stack(parts).sum(0) + PENALTY * scales.detach().sign()


def _scaling(
    hooked: HookedModel, scales: Float[Tensor, "layers heads head_width"]
) -> dict[str, HookFn]:
    def times(layer: int) -> HookFn:
        # In float32: half precision would round the scales away.
        return lambda z: (z.float() * (1 + scales[layer])).to(z.dtype)

    return {hook_name("z", layer): times(layer) for layer in range(hooked.layers)}


@torch.no_grad()
def _head_shape(
    hooked: HookedModel, rows: Sequence[int], prefix_cache: PrefixCache
) -> tuple[int, int]:
    """Heads of a layer, and the width of one."""
    with recording(hooked, hook_name("z", 0)) as seen:
        run_blocks(
            hooked.bridged, prefix_cache.batch(rows[:1]).ids, stop=1 if hooked.layers > 1 else None
        )
    heads, width = seen[hook_name("z", 0)].shape[2:]
    return heads, width
