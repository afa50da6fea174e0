"""What a search holds in memory, counted from shapes and from the texts of its evaluation suite."""

from collections.abc import Iterable, Sequence

from locscope.forward.batching import KEPT, Holds
from locscope.forward.head import POSITIONS
from locscope.records import default_batch
from locscope.selection.space import Space
from locscope.tuning.recipes import TUNES_ALL_BLOCKS
from locscope.tuning.trial_cost import blocks_of
from locscope.tuning.workspace import Workspace

FLOAT32 = 4
MASTER, OPTIMISER, GRADIENT = FLOAT32, 2 * FLOAT32, FLOAT32
PLAIN = frozenset({"weight-gradient", "depth-rule", "random"})
"""Scans that take no batches of their own."""
LOGITS = 3
"""Copies of the logits at once: as they are, as log-probabilities, and their gradient."""


def memory_of(
    workspace: Workspace, space: Space, recipes: Sequence[str] = (), batch: int | None = None
) -> dict[str, int]:
    """The parts that a search's memory is made of, in bytes.

    Tuning's are those of the largest location, or of all blocks where the recipe `all` is among
    those compared. Without a `batch`, the usual one.
    """
    info, packed = workspace.loaded.info, workspace.suite.packed
    itemsize = workspace.loaded.model.dtype.itemsize
    width = info.width * itemsize
    neutral = sum(len(states) for states in workspace.suite.neutral.states)
    everywhere = blocks_of(info) if "all" in recipes else 0
    most = max(everywhere, *(one.parameters for one in space.candidates))
    low = 0 if set(recipes) & set(TUNES_ALL_BLOCKS) else _lowest(space)
    return {
        "weights": info.parameters * itemsize,
        "prefix cache": packed.ids.numel() * width,
        "untouched answers to neutral texts": neutral * width,
        "float32 master weights": 2 * most * MASTER,
        "optimiser and gradients": most * (OPTIMISER + GRADIENT + 2 * itemsize),
        "activations of a batch": _activations(workspace, low, batch or default_batch(space.edits)),
        "logits": LOGITS * FLOAT32 * info.vocabulary * _positions(workspace),
    }


def scan_batches(workspace: Workspace, scans: Iterable[str]) -> int:
    """Bytes that scans may fill with the states of a batch: their budget of tokens."""
    info, prefix_cache = workspace.loaded.info, workspace.prefix_cache
    a_token = KEPT * info.layers * info.width * workspace.loaded.model.dtype.itemsize
    return prefix_cache.tokens_at_once * a_token if set(scans) - PLAIN else 0


def _activations(workspace: Workspace, lowest: int, batch: int) -> int:
    """The graph of a batch of the longest texts from that layer on."""
    info, packed, model = workspace.loaded.info, workspace.suite.packed, workspace.loaded.model
    rows = [row for one in workspace.suite.edits for row in one.training]
    longest = max(int(packed.lengths[row]) for row in rows)
    count = min(batch, max(1, workspace.prefix_cache.tokens_at_once // longest))
    states = Holds(states=1, patterns=1, backward=True).tokens(model, longest, count) * 8
    return states * (info.layers - lowest) * info.width * model.dtype.itemsize


def _lowest(space: Space) -> int:
    return min(one.location.lowest for one in space.candidates)


def _positions(workspace: Workspace) -> int:
    """Positions whose logits are held at once when answers are read."""
    packed = workspace.suite.packed
    scored = int((packed.lengths - packed.answers + 1).sum())
    return min(POSITIONS, scored, workspace.prefix_cache.tokens_at_once)
