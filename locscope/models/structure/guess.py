"""Families that no table has: where a model's blocks are, guessed by name, and held to its forward.

What is found is used only after `self_test` has seen that blocks resume exactly; what a guess does
not find is no part. Fused query-key-value matrices are left whole: names do not tell their rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.models.families import FAMILIES, Family

ATTENTION = ("self_attn", "attention", "attn", "self_attention")
MLP = ("mlp", "feed_forward", "ffn")
LEAVES = {
    "mlp.gate": ("gate_proj", "gate", "w1"),
    "mlp.up": ("up_proj", "fc1", "fc_in", "c_fc", "w3"),
    "mlp.down": ("down_proj", "fc2", "fc_out", "c_proj", "w2"),
    "attn.q": ("q_proj",),
    "attn.k": ("k_proj",),
    "attn.v": ("v_proj",),
    "attn.o": ("o_proj", "out_proj", "dense", "c_proj", "wo"),
}
"""Names of linear modules under the attention or the MLP, in the order in which they are tried."""
LENGTH, MOST = 12, {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""Tokens that a self-test reads; by how much its logits may differ, relative to the largest."""

_guessed: WeakKeyDictionary[PreTrainedModel, Family] = WeakKeyDictionary()


def guess(model: PreTrainedModel) -> Family:
    """The family of a model by the names of its modules.

    Raises UsageError where no list of blocks is found, or no attention or MLP in them.
    """
    if model not in _guessed:
        _guessed[model] = _found(model)
    return _guessed[model]


@torch.no_grad()
def self_test(model: PreTrainedModel, family: Family, factor: float, cap: float | None) -> None:
    """Holds a guessed family to the model's own forward, on random tokens.

    Each block runs once, in order, on the stream that comes first; the stream entering a block is
    all that it and those above need; padding on the right is not seen; logits are the head's of
    the body's output, times `factor` and below `cap`. Raises UsageError, which names the test that
    failed.
    """
    embedding: Any = model.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    # Always the same tokens: no model may pass on one day and fail on the next.
    draw = torch.Generator().manual_seed(0)
    ids, other = torch.randint(rows, (2, 2, LENGTH), generator=draw).to(model.device)
    layers: Any = model.get_submodule(family.blocks)
    entered, order = _entering(model, layers, ids)
    _refuse(model, order == list(range(len(layers))), "blocks do not run once each, in order")
    wanted = _logits(model, ids)
    longer = torch.cat((ids, other[:, :3]), 1)
    same = _close(_logits(model, longer)[:, :LENGTH], wanted)
    _refuse(model, same, "tokens behind a text change what is said within it")
    for layer in range(1, len(layers)):
        with _watched(layers, layer, hidden=entered[layer]):
            # Below the block other tokens go in: what is put there alone must decide what comes
            # out.
            resumed = _logits(model, other)
        _refuse(model, _close(resumed, wanted), f"block {layer} does not resume exactly")
    hidden = model.get_submodule(family.owner)(input_ids=ids, use_cache=False).last_hidden_state
    head: Any = model.get_output_embeddings()
    logits = factor * head(hidden)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    _refuse(model, _close(logits, wanted), "the logits are not those of its head")
    _refuse(model, _close(_cached(model, family, ids), hidden), "cached decoding differs")


def _found(model: PreTrainedModel) -> Family:
    kind, count = model.config.model_type, model.config.get_text_config().num_hidden_layers
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count and "." in path
    ]
    # An image tower may have as many blocks: which list is meant cannot be guessed then.
    if len(lists) != 1:
        supported = ", ".join(sorted(FAMILIES))
        raise UsageError(
            f"model type '{kind}' is not supported: there are {supported}; in it, {len(lists)} "
            f"lists of {count} blocks are found by name, not one"
        )
    (path, blocks), owner = lists[0], lists[0][0].rpartition(".")[0]
    block = blocks[0]
    attention, mlp = _named(block, ATTENTION), _named(block, MLP)
    if not attention or not mlp:
        lack = "attention" if not attention else "MLP"
        raise UsageError(f"model type '{kind}' is not supported: no {lack} is found in its blocks")
    leaves: dict[str, str] = {}
    for part, names in LEAVES.items():
        inside = attention if part.startswith("attn") else mlp
        name = _named(block.get_submodule(inside), names, nn.Linear)
        if name and all(_has(block, f"{inside}.{name}") for block in blocks):
            leaves[part] = f"{inside}.{name}"
    if not {"attn.q", "attn.k", "attn.v", "attn.o"} <= leaves.keys():
        leaves = {part: leaf for part, leaf in leaves.items() if part not in ("attn.q", "attn.k")}
    return Family(
        owner,
        leaves,
        layers=path.rpartition(".")[2],
        attention=attention,
        mlp=mlp,
        tuples=_returns_tuples(model, blocks),
    )


def _named(module: nn.Module, names: tuple[str, ...], kind: type = nn.Module) -> str:
    children = dict(module.named_children())
    return next((name for name in names if isinstance(children.get(name), kind)), "")


def _has(block: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in block.named_modules())


def _returns_tuples(model: PreTrainedModel, blocks: nn.ModuleList) -> bool:
    """Whether the stream comes in a tuple, seen in a run; on `meta`, where nothing runs, no."""
    if model.device.type == "meta":
        return False
    ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    with torch.no_grad(), _watched(blocks, 0) as first:
        model(input_ids=ids, use_cache=False)
    return first.tuples


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    return model(input_ids=ids, use_cache=False).logits


def _entering(
    model: PreTrainedModel, layers: nn.ModuleList, ids: Tensor
) -> tuple[list[Tensor], list[int]]:
    """The stream entering every block, and the order in which blocks ran."""
    order: list[int] = []
    with ExitStack() as stack:
        watched = [stack.enter_context(_watched(layers, n, order)) for n in range(len(layers))]
        _logits(model, ids)
    return [block.entered for block in watched], order


@final
class _Watched(nn.Module):
    """A block that keeps the stream entering it, or runs on a given one instead."""

    def __init__(
        self, block: nn.Module, number: int, order: list[int], hidden: Tensor | None
    ) -> None:
        super().__init__()
        self.block, self.number, self.order, self.hidden = block, number, order, hidden
        self.entered, self.tuples = torch.empty(0), False

    def forward(self, *given: Any, **more: Any) -> Any:
        if not given:
            raise ValueError("blocks are not given the stream first")
        hidden = given[0] if self.hidden is None else self.hidden
        # A copy, as blocks may add to the stream in place.
        self.entered = hidden.clone()
        self.order.append(self.number)
        out = self.block(hidden, *given[1:], **more)
        self.tuples = isinstance(out, tuple)
        return out


@contextmanager
def _watched(
    layers: nn.ModuleList, number: int, order: list[int] | None = None, hidden: Tensor | None = None
) -> Iterator[_Watched]:
    """A block watched, on a stream of its own where one is given; afterwards it is itself again."""
    own = layers[number]
    watched = _Watched(own, number, [] if order is None else order, hidden)
    layers[number] = watched
    try:
        yield watched
    finally:
        layers[number] = own


def _cached(model: PreTrainedModel, family: Family, ids: Tensor) -> Tensor:
    """The body's output, the second half read on from the cache of the first."""
    from transformers import DynamicCache

    cache, found, half = DynamicCache(), list[Tensor](), ids.shape[1] // 2
    for first, last in ((0, half), (half, ids.shape[1])):
        out = model.get_submodule(family.owner)(
            input_ids=ids[:, first:last],
            use_cache=True,
            past_key_values=cache,
            position_ids=torch.arange(first, last, device=ids.device)[None],
        )
        found.append(out.last_hidden_state)
    return torch.cat(found, 1)


def _close(found: Tensor, wanted: Tensor) -> bool:
    far = float((found.float() - wanted.float()).abs().max())
    # By the largest: of small logits rounding may be any share.
    return far <= MOST.get(wanted.dtype, 1e-5) * float(wanted.float().abs().max())


def _refuse(model: PreTrainedModel, passed: bool, problem: str) -> None:
    if not passed:
        raise UsageError(
            f"model type '{model.config.model_type}' is in no table, and fails the self-test: "
            f"{problem}"
        )
