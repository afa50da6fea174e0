"""What a search holds in memory, counted from shapes and from the texts of its evaluation suite."""

from collections.abc import Iterable, Mapping, Sequence

from locscope.forward.batching import KEPT, LEAST_TOKENS, MOST_TOKENS, tokens_worth
from locscope.forward.head import POSITIONS
from locscope.forward.prefix_cache import COPIES, HEAVY, ON_CPU
from locscope.interp.gradients import GRADIENT_WORTH, SLOPES_WORTH, gradient_tokens, layer_groups
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.streaming.blocks import held_from
from locscope.models.streaming.way import device_bytes
from locscope.records import ModelInfo, default_batch
from locscope.selection.space import Space
from locscope.tuning.recipes import TUNES_ALL_BLOCKS
from locscope.tuning.trial_cost import blocks_of
from locscope.tuning.workspace import Workspace

FLOAT32 = 4
MASTER, OPTIMISER, OWN_GRADIENT = FLOAT32, 2 * FLOAT32, FLOAT32
PLAIN = frozenset({"weight-gradient", "depth-rule", "random"})
"""Scans that take no batches of their own."""
GRADIENTS = "gradients of all parts"
OF_A_TRIAL = (
    *("float32 master weights", "optimiser and gradients"),
    *("activations of a batch", "logits"),
)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
LIBRARIES = 500 << 20
"""What a process holds before it loads a model, on Linux with torch 2.13 for the CPU."""
NEUTRAL_TOKENS = 1600
"""Of the shipped neutral texts and the model's own, about."""
COPIED = (8 << 30) // COPIES
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
    stream, budget = packed.ids.numel() * width, workspace.prefix_cache.budget
    everywhere = blocks_of(info) if "all" in recipes else 0
    most = max(everywhere, *(candidate.parameters for candidate in space.candidates))
    low = 0 if set(recipes) & set(TUNES_ALL_BLOCKS) else _lowest(space)
    return {
        **device_bytes(workspace.loaded.model, itemsize, held_from(workspace.loaded.model)),
        "prefix cache": stream,
        "copies of it": stream * min(info.layers, budget.host // COPIES // max(1, stream)),
        "untouched answers to neutral texts": neutral * width,
        "float32 master weights": 2 * most * MASTER,
        "optimiser and gradients": most * (OPTIMISER + OWN_GRADIENT + 2 * itemsize),
        "activations of a batch": _activations(workspace, low, batch or default_batch(space.edits)),
        "logits": LOGITS * FLOAT32 * info.vocabulary * _positions(workspace),
        GRADIENTS: _gradients(workspace, itemsize + 2 * FLOAT32),
    }


def added_by_a_search(memory: Mapping[str, int], filled: int) -> int:
    """What of it is held beyond the untouched model and its evaluation suite: what trials share,
    and then the most that a trial, the weight gradient or batches of scans (`filled`) take."""
    trial = sum(memory[part] for part in OF_A_TRIAL)
    return memory["prefix cache"] + memory["copies of it"] + max(trial, memory[GRADIENTS], filled)


def _gradients(workspace: Workspace, bytes_per_weight: int) -> int:
    """Of the weight gradient: of as many layers at once as the device's budget allows, and a batch
    of neutral texts."""
    model, budget = workspace.loaded.model, workspace.prefix_cache.budget
    layers = range(workspace.loaded.info.layers)
    groups = layer_groups(model, layers, budget, bytes_per_weight)
    block = blocks_of(workspace.loaded.info) // len(layers)
    cache, texts = workspace.prefix_cache, workspace.suite.neutral.texts
    lengths = workspace.suite.packed.lengths[list(texts)].tolist()
    heavy = sum(GRADIENT_WORTH(model, length) for length in lengths)
    batch = min(gradient_tokens(cache), heavy) * _a_token(workspace)
    return bytes_per_weight * block * max(map(len, groups)) + batch


def scan_batches(workspace: Workspace, scans: Iterable[str]) -> int:
    """Bytes that scans may fill with the states of a batch: their budget of tokens, or all of the
    tokens that there are, where each is as heavy as the heaviest."""
    suite, model = workspace.suite, workspace.loaded.model
    rows = [row for questions in suite.edits for row in questions.training]
    lengths = suite.packed.lengths[[*rows, *suite.neutral.texts]].tolist()
    heaviest = sum(SLOPES_WORTH(model, length) for length in lengths)
    most = min(workspace.prefix_cache.tokens_of_a_scan, heaviest)
    return most * _a_token(workspace) if set(scans) - PLAIN else 0


def _a_token(workspace: Workspace) -> int:
    """Bytes of a token of a scan's batch."""
    info = workspace.loaded.info
    return KEPT * info.layers * info.width * workspace.loaded.model.dtype.itemsize


def _activations(workspace: Workspace, lowest: int, batch: int) -> int:
    """The graph of a batch of the longest texts from that layer on."""
    info, packed, model = workspace.loaded.info, workspace.suite.packed, workspace.loaded.model
    rows = [row for questions in workspace.suite.edits for row in questions.training]
    longest = max(int(packed.lengths[row]) for row in rows)
    count = min(batch, max(1, workspace.prefix_cache.tokens_of_a_batch // longest))
    states = tokens_worth(model, longest, count, states=1, patterns=1, backward=True) * 8
    return states * (info.layers - lowest) * info.width * model.dtype.itemsize


def _lowest(space: Space) -> int:
    return min(candidate.location.lowest for candidate in space.candidates)


def _positions(workspace: Workspace) -> int:
    """Positions whose logits are held at once when answers are read."""
    packed = workspace.suite.packed
    scored = int((packed.lengths - packed.answers + 1).sum())
    return min(POSITIONS, scored, workspace.prefix_cache.tokens_of_a_batch)


def from_shapes(
    planned: Loaded,
    tokens: int,
    largest: int,
    batch: int,
    room: float,
    tail: int | None = None,
    *,
    on_cpu: bool,
) -> dict[str, int]:
    """About the same before anything is loaded, with all that the process holds besides.

    Of a model on `meta`, so many tokens of questions, a largest location of so many weights, and
    room for so many bytes of activations. Of a model that is streamed the tail is held from the
    layer `tail` on.
    """
    info, model, itemsize = planned.info, planned.model, BYTES[planned.info.dtype]
    a_token = KEPT * info.layers * info.width * itemsize
    most = max(LEAST_TOKENS, min(MOST_TOKENS, int(room) // a_token))
    held = min(most, ON_CPU) if on_cpu else most
    stream = (tokens + NEUTRAL_TOKENS) * info.width * itemsize
    neutral = GRADIENT_WORTH(model, NEUTRAL_TOKENS)
    gradients = blocks_of(info) * (itemsize + 2 * FLOAT32)
    gradients += min(most // 2, 2 * held, neutral) * a_token
    graph = tokens_worth(model, min(held, 20 * batch), states=1, patterns=1, backward=True)
    trial = largest * (2 * MASTER + OPTIMISER + OWN_GRADIENT + 2 * itemsize) + graph * a_token
    trial += LOGITS * FLOAT32 * info.vocabulary * min(POSITIONS, held)
    return {
        **device_bytes(model, itemsize, tail),
        "libraries": LIBRARIES,
        "prefix cache with copies": stream * (1 + min(info.layers, COPIED // max(1, stream))),
        "a trial, gradients or scans": max(trial, gradients, min(most, HEAVY * held) * a_token),
    }


def weights_at(info: ModelInfo, location: Location) -> int:
    """How many weights a location has."""
    there = {(cell.layer, cell.part): cell.parameters for cell in info.grid}
    return sum(there.get(cell, 0) for cell in location.cells)
