"""Run a plain Hugging Face model from one block to another.

The model's own forward does it: its list of blocks is replaced, within a `with`, by one whose
skipped blocks hand their input on, so masks, rotary positions, layer types and the final norm are
those of the model's own code, for every family.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from locscope.models.parts import blocks_owner, body, family_of


@final
class _Skip(nn.Module):
    """A block that hands its input on, in a tuple where the family's blocks return one."""

    def __init__(self, tuples: bool) -> None:
        super().__init__()
        self.tuples = tuples

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor | tuple[Tensor, None]:
        return (hidden, None) if self.tuples else hidden


@final
class _Into(nn.Module):
    """A block that runs on a given residual stream instead of its input."""

    def __init__(self, block: nn.Module, hidden: Tensor) -> None:
        super().__init__()
        self.block, self.hidden = block, hidden

    def forward(self, _: Tensor, *args: Any, **more: Any) -> Any:
        return self.block(self.hidden, *args, **more)


@final
class _Tap(nn.Module):
    """A block that keeps its input."""

    def __init__(self, tuples: bool) -> None:
        super().__init__()
        self.tuples = tuples
        self.seen: Tensor | None = None

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor | tuple[Tensor, None]:
        self.seen = hidden
        return (hidden, None) if self.tuples else hidden


@contextmanager
def replaced_blocks(model: PreTrainedModel, layers: list[nn.Module]) -> Iterator[None]:
    """The model with other blocks instead of its own, which are back afterwards."""
    owner, name = blocks_owner(model)
    own = getattr(owner, name)
    setattr(owner, name, nn.ModuleList(layers))
    try:
        yield
    finally:
        setattr(owner, name, own)


@contextmanager
def replaced_modules(model: PreTrainedModel, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """The model with others instead of the modules at these paths, which are back afterwards."""
    own = {path: model.get_submodule(path) for path in modules}
    try:
        for path, module in modules.items():
            model.set_submodule(path, module)
        yield
    finally:
        for path, module in own.items():
            model.set_submodule(path, module)


def run_blocks(
    model: PreTrainedModel,
    ids: Int[Tensor, "batch seq"],
    start: int = 0,
    hidden: Float[Tensor, "batch seq width"] | None = None,
    stop: int | None = None,
    cache: Cache | None = None,
) -> Float[Tensor, "batch seq width"]:
    """Blocks `start` to before `stop` on right-padded rows.

    `hidden` is the residual stream entering block `start` (without it, for 0, ids are embedded).
    Returns the residual stream entering block `stop`, or, where `stop` is None, the final hidden
    states behind the last norm. Rows are padded on the right and positions count from 0, so causal
    attention keeps the padding out of every real token. With a `cache`, the rows go on behind the
    tokens whose keys and values are in it, and theirs are added to it.
    """
    owner, name = blocks_owner(model)
    layers: list[nn.Module] = list(getattr(owner, name))
    tuples = family_of(model).tuples
    tap = _Tap(tuples)
    assert start == 0 or hidden is not None, "resuming above a block needs the residual stream"
    if hidden is not None:
        layers[:start] = [_Skip(tuples) for _ in range(start)]
        # Behind the last block only the norm is left to run.
        entry = min(start, len(layers) - 1)
        layers[entry] = _Into(layers[entry], hidden)
    if stop is not None:
        layers[stop:] = [tap, *(_Skip(tuples) for _ in range(len(layers) - stop - 1))]
    more: dict[str, Any] = {"use_cache": False}
    if cache is not None:
        seen = cache.get_seq_length()
        positions = torch.arange(seen, seen + ids.shape[1], device=ids.device)[None]
        more = {"use_cache": True, "past_key_values": cache, "position_ids": positions}
    with replaced_blocks(model, layers):
        out = body(model)(input_ids=ids, **more).last_hidden_state
    return out if tap.seen is None else tap.seen
