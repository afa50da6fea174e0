"""Patching: a clean state put into a corrupted run, for every token and layer, exactly.

Facts of one shape go together. What a patch at a token cannot reach is not computed again: blocks
below it; the tokens before it, whose keys and values are kept from the corrupted run; in the last
block all but the last token. All layers of a token climb as one batch that grows: a cell joins at
the first block it changes. Only where an output is replaced does the hooked model run.
"""

from collections.abc import Callable, Sequence
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

Measure = Callable[[Float[Tensor, "rows vocabulary"]], Float[Tensor, " rows"]]
"""From next-token logits of rows (all samples of the first fact, then of the next, and so on, as
often as there are cells) to the number that patching is judged by."""


STATE = "resid_post"


@dataclass(frozen=True)
class Kind:
    """What is restored: the state behind a block, or what attention or the MLP adds to it.

    A state is restored at one layer, an output over a window of `window` layers around it.
    """

    part: str
    activation: str
    window: int = 1


@dataclass(frozen=True)
class Clean:
    """What facts of one length do uncorrupted: activations by hook, logits at the last token."""

    activations: dict[str, Float[Tensor, "facts seq width"]]
    logits: Float[Tensor, "facts vocabulary"]


@dataclass(frozen=True)
class Corrupted:
    """The corrupted runs of the facts, each with its samples one after another.

    `entering[l]` is the residual stream entering block l, `cache` holds all keys and values.
    """

    ids: Int[Tensor, "rows seq"]
    entering: tuple[Float[Tensor, "rows seq width"], ...]
    cache: DynamicCache
    logits: Float[Tensor, "rows vocabulary"]


@dataclass(frozen=True)
class Cell:
    """A restoration centred on `layer`: it changes blocks `first` to before `stop`."""

    layer: int
    first: int
    stop: int


def cells_of(kind: Kind, layers: int) -> tuple[Cell, ...]:
    """The restorations of a kind. That of the last block's state is left out: behind it nothing is
    computed, so it is the clean answer at the last token and changes nothing elsewhere.

    Windows lie as in ROME's code: of 10 layers, from 5 below to 4 above.
    """
    if kind.activation == STATE:
        return tuple(Cell(layer, layer + 1, layer + 2) for layer in range(layers - 1))
    below, above = kind.window // 2, -(-kind.window // 2)
    return tuple(
        Cell(layer, max(0, layer - below), min(layers, layer + above)) for layer in range(layers)
    )


@torch.no_grad()
def run_clean(hooked: HookedModel, ids: Int[Tensor, "facts seq"], kinds: Sequence[Kind]) -> Clean:
    """Runs facts of one length, and keeps what the kinds restore."""
    names = [hook_name(kind.activation, n) for kind in kinds for n in range(hooked.layers)]
    with recording(hooked, *names) as seen:
        final = run_blocks(hooked.bridged, ids)
    return Clean(dict(seen), logits(hooked.bridged, final[:, -1]))


@torch.no_grad()
def run_corrupted(
    hooked: HookedModel, ids: Int[Tensor, "rows seq"], edits: dict[str, HookFn]
) -> Corrupted:
    """Runs the corrupted prompts, their embeddings changed by the edits."""
    names = [hook_name("resid_pre", layer) for layer in range(hooked.layers)]
    cache = DynamicCache()
    with with_hooks(hooked, edits), recording(hooked, *names) as seen:
        final = run_blocks(hooked.bridged, ids, cache=cache)
    entering = tuple(seen[name] for name in names)
    return Corrupted(ids, entering, cache, logits(hooked.bridged, final[:, -1]))


@torch.no_grad()
def restored(
    hooked: HookedModel,
    clean: Clean,
    corrupted: Corrupted,
    kind: Kind,
    first: int,
    measure: Measure,
    tokens_at_once: int,
) -> Float[Tensor, "rows seq layers"]:
    """The measure with each token's state restored at each layer; tokens before `first`, which
    are not corrupted, keep the corrupted run's.
    """
    floor, top = measure(corrupted.logits), measure(clean.logits)
    rows, length = corrupted.ids.shape
    out = floor[:, None, None].repeat(1, length, hooked.layers)
    if kind.activation == STATE:
        out[:, -1, -1] = top.repeat_interleave(rows // len(top))
    cells = cells_of(kind, hooked.layers)
    for token in range(first, length):

        def run(some: Sequence[Cell], token: int = token) -> list[Float[Tensor, " rows"]]:
            final = _climb(hooked, clean, corrupted, kind, token, some)
            return list(measure(logits(hooked.bridged, final)).view(len(some), rows))

        # No more rows than there may be positions with logits.
        size = rows * max(length - token, -(-tokens_at_once // POSITIONS))
        found = in_batches(cells, run, size=lambda _, s=size: s, tokens_at_once=tokens_at_once)
        out[:, token, [cell.layer for cell in cells]] = torch.stack(found, dim=1)
    return out


def _climb(
    hooked: HookedModel,
    clean: Clean,
    corrupted: Corrupted,
    kind: Kind,
    token: int,
    cells: Sequence[Cell],
) -> Float[Tensor, "cell_rows width"]:
    """Final states of the last token, cell after cell, each restored at the given token."""
    rows = corrupted.ids[:, token:]
    hidden = corrupted.entering[0][:0, token:]
    for block in range(cells[0].first, hooked.layers):
        joining = sum(cell.first == block for cell in cells)
        entering = corrupted.entering[block][:, token:]
        if kind.activation == STATE:
            entering = _with_first(
                entering, clean.activations[hook_name(STATE, block - 1)][:, token]
            )
        hidden = torch.cat([hidden, entering.repeat(joining, 1, 1)])
        going = [cell for cell in cells if cell.first <= block]
        before = _before(corrupted.cache, block, token, len(going))
        edits = _restore(clean, kind, token, block, going, len(rows))
        hidden = _through(hooked, block, rows.repeat(len(going), 1), hidden, before, edits)
    return hidden[:, -1]


def _through(
    hooked: HookedModel,
    block: int,
    ids: Int[Tensor, "cell_rows seq"],
    hidden: Float[Tensor, "cell_rows seq width"],
    before: DynamicCache | None,
    edits: dict[str, HookFn],
) -> Float[Tensor, "cell_rows seq width"]:
    """Through one block; behind the last, and through the final norm, only the last token counts.

    What is put in the place of an earlier token's output in the last block is read by nobody.
    """
    final = block == hooked.layers - 1
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
    """The rows with the facts' state in the place of their first token's."""
    state = state.repeat_interleave(len(entering) // len(state), dim=0)
    return torch.cat([state[:, None], entering[:, 1:]], dim=1)


def _restore(
    clean: Clean, kind: Kind, token: int, block: int, cells: Sequence[Cell], rows: int
) -> dict[str, HookFn]:
    """The edit that puts the clean output in the place of the first token's, where it is due."""
    due = torch.tensor([block < cell.stop for cell in cells])
    if kind.activation == STATE or not due.any():
        return {}
    name = hook_name(kind.activation, block)
    state = clean.activations[name][:, token]
    state = state.repeat_interleave(rows // len(state), dim=0)

    def put(value: Float[Tensor, "cell_rows seq width"]) -> Float[Tensor, "cell_rows seq width"]:
        value = value.clone()
        value[due.repeat_interleave(rows).to(value.device), 0] = state.repeat(int(due.sum()), 1)
        return value

    return {name: put}


def _before(cache: DynamicCache, block: int, token: int, copies: int) -> DynamicCache | None:
    """Keys and values of the tokens before this one at a block, for so many copies of the rows."""
    used = range(block, block + 1)
    return earlier(cache, token, used, lambda part: part.repeat(copies, 1, 1, 1))
