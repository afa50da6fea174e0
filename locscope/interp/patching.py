"""Patching: a clean state put into a corrupted run, for every token and layer, exactly.

Facts of one shape go together. What a patch at a token cannot reach is not computed again: the
blocks below it; the tokens before it, whose keys and values are kept from the corrupted run; in the
last block all but the last token. All layers of a token pass the blocks as one batch that grows: a
patch joins at the first block that it changes. Only where an output is replaced does the hooked
model run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from locscope.forward.batching import in_batches
from locscope.forward.blocks import replaced_modules, run_blocks
from locscope.forward.head import POSITIONS, logits
from locscope.forward.resume import earlier, last_block
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, recording, with_hooks

MetricFn = Callable[[Float[Tensor, "rows vocabulary"]], Float[Tensor, " rows"]]
"""From next-token logits to the metric of patching. Rows are all samples of the first fact, then of
the next, and so on, as often as there are patches."""

RESTORED = {"block": "resid_post", "mlp": "mlp_out", "attn": "attn_out"}
"""What is restored, by part: the state behind a block, or what the MLP or attention adds to the
stream. A state is restored at one layer, an output in a window of layers around it."""
STATE = RESTORED["block"]


@dataclass(frozen=True)
class PatchRuns:
    """Facts of one length, run clean and corrupted, the samples of a fact one after another.

    `clean` holds clean activations by hook. `entering[l]` is the corrupted residual stream that
    enters block l, `cache` all corrupted keys and values. Logits are those at the last token.
    """

    ids: Int[Tensor, "rows seq"]
    clean: Mapping[str, Float[Tensor, "facts seq width"]]
    clean_logits: Float[Tensor, "facts vocabulary"]
    entering: tuple[Float[Tensor, "rows seq width"], ...]
    cache: DynamicCache
    corrupted_logits: Float[Tensor, "rows vocabulary"]


def windows_of(activation: str, window: int, layers: int) -> tuple[range, ...]:
    """The blocks that each layer's restoration changes, of outputs `window` of them.

    That of the last block's state is left out: nothing is computed behind it, so it is the clean
    answer at the last token and changes nothing elsewhere.
    """
    if activation == STATE:
        return tuple(range(layer + 1, layer + 2) for layer in range(layers - 1))
    # As in ROME's code: of 10 layers, from 5 below to 4 above.
    below, above = window // 2, -(-window // 2)
    return tuple(
        range(max(0, layer - below), min(layers, layer + above)) for layer in range(layers)
    )


@torch.no_grad()
def run_both(
    hooked: HookedModel,
    clean_ids: Int[Tensor, "facts seq"],
    ids: Int[Tensor, "rows seq"],
    edits: Mapping[str, HookFn],
) -> PatchRuns:
    """Runs the clean prompts, and the corrupted ones with their embeddings changed by the edits."""
    layers = range(hooked.layers)
    restorable = [hook_name(kind, layer) for kind in RESTORED.values() for layer in layers]
    with recording(hooked, *restorable) as clean:
        clean_final = run_blocks(hooked.bridged, clean_ids)
    names = [hook_name("resid_pre", layer) for layer in layers]
    cache = DynamicCache()
    with with_hooks(hooked, edits), recording(hooked, *names) as seen:
        final = run_blocks(hooked.bridged, ids, cache=cache)
    return PatchRuns(
        ids,
        clean,
        logits(hooked.bridged, clean_final[:, -1]),
        tuple(seen[name] for name in names),
        cache,
        logits(hooked.bridged, final[:, -1]),
    )


@torch.no_grad()
def restored(
    hooked: HookedModel,
    runs: PatchRuns,
    activation: str,
    window: int,
    first: int,
    metric: MetricFn,
    tokens_at_once: int,
) -> Float[Tensor, "rows seq layers"]:
    """The metric with each token's activation restored at each layer, an output in a window.

    Tokens before `first`, which are not corrupted, keep the value of the corrupted run.
    """
    # Once: where nothing is restored the metric is that of the corrupted run.
    floor, top = metric(runs.corrupted_logits), metric(runs.clean_logits)
    rows, length = runs.ids.shape
    out = floor[:, None, None].repeat(1, length, hooked.layers)
    if activation == STATE:
        out[:, -1, -1] = top.repeat_interleave(rows // len(top))
    windows = windows_of(activation, window, hooked.layers)
    for token in range(first, length):

        def run(batch: Sequence[range], token: int = token) -> list[Float[Tensor, " rows"]]:
            final = _patched(hooked, runs, activation, token, batch)
            return list(metric(logits(hooked.bridged, final)).view(len(batch), rows))

        # A batch of few tokens has many rows, and every row has logits of the whole vocabulary.
        size = rows * max(length - token, -(-tokens_at_once // POSITIONS))
        values = in_batches(windows, run, size=lambda _, s=size: s, tokens_at_once=tokens_at_once)
        out[:, token, : len(windows)] = torch.stack(values, dim=1)
    return out


def _patched(
    hooked: HookedModel, runs: PatchRuns, activation: str, token: int, windows: Sequence[range]
) -> Float[Tensor, "patched_rows width"]:
    """Final states of the last token, with the given token restored in one window after another."""
    rows = runs.ids[:, token:]
    # Nothing at first: a patch joins at the first block that it changes.
    hidden = runs.entering[0][:0, token:]
    for block in range(windows[0].start, hooked.layers):
        joining = sum(window.start == block for window in windows)
        entering = runs.entering[block][:, token:]
        if activation == STATE:
            entering = _with_first(entering, runs.clean[hook_name(STATE, block - 1)][:, token])
        hidden = torch.cat([hidden, entering.repeat(joining, 1, 1)])
        active = [window for window in windows if window.start <= block]
        before = _before(runs.cache, block, token, len(active))
        edits = _restore(runs, activation, token, block, active)
        hidden = _through(hooked, block, rows.repeat(len(active), 1), hidden, before, edits)
    return hidden[:, -1]


def _through(
    hooked: HookedModel,
    block: int,
    ids: Int[Tensor, "patched_rows seq"],
    hidden: Float[Tensor, "patched_rows seq width"],
    before: DynamicCache | None,
    edits: Mapping[str, HookFn],
) -> Float[Tensor, "patched_rows seq width"]:
    """Runs one block; behind the last, and its final norm, only the last token counts."""
    final = block == hooked.layers - 1
    # The edits are dropped: nothing reads what replaces an earlier token's output in this block.
    if final and ids.shape[1] > 1:
        last = torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
        with replaced_modules(hooked.model, last_block(hooked.model, last)):
            return run_blocks(hooked.model, ids, block, hidden, None, before)
    stop = None if final else block + 1
    if not edits:
        return run_blocks(hooked.model, ids, block, hidden, stop, before)
    with with_hooks(hooked, edits):
        return run_blocks(hooked.bridged, ids, block, hidden, stop, before)


def _with_first(
    entering: Float[Tensor, "rows seq width"], state: Float[Tensor, "facts width"]
) -> Float[Tensor, "rows seq width"]:
    """The rows with the facts' state instead of their first token's."""
    state = state.repeat_interleave(len(entering) // len(state), dim=0)
    return torch.cat([state[:, None], entering[:, 1:]], dim=1)


def _restore(
    runs: PatchRuns, activation: str, token: int, block: int, windows: Sequence[range]
) -> dict[str, HookFn]:
    """The edit that restores the clean output of the first token in the windows of this block."""
    rows, due = len(runs.ids), torch.tensor([block < window.stop for window in windows])
    if activation == STATE or not due.any():
        return {}
    name = hook_name(activation, block)
    state = runs.clean[name][:, token]
    state = state.repeat_interleave(rows // len(state), dim=0)

    def put(
        value: Float[Tensor, "patched_rows seq width"],
    ) -> Float[Tensor, "patched_rows seq width"]:
        # The module may hand its output on by other ways: written in place, these would see it.
        value = value.clone()
        value[due.repeat_interleave(rows).to(value.device), 0] = state.repeat(int(due.sum()), 1)
        return value

    return {name: put}


def _before(cache: DynamicCache, block: int, token: int, copies: int) -> DynamicCache | None:
    """A block's keys and values of the tokens before this one, for so many copies of the rows."""
    used = range(block, block + 1)
    return earlier(cache, token, used, lambda part: part.repeat(copies, 1, 1, 1))
