"""Run a plain Hugging Face model from one block to another.

The model's own forward does it: its list of blocks is replaced, within a `with`, by one whose
skipped blocks hand their input on, so masks, rotary positions, layer types and the final norm are
those of the model's own code, for every family.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.models.parts import blocks_owner, body


@final
class _Skip(nn.Module):
    """A block that hands its input on."""

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor:
        return hidden


@final
class _Enter(nn.Module):
    """A block that puts a given residual stream in the place of its input."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_: object, **__: object) -> Tensor:
        return self.hidden


@final
class _Tap(nn.Module):
    """A block that keeps its input."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor | None = None

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor:
        self.seen = hidden
        return hidden


@contextmanager
def replaced_blocks(model: PreTrainedModel, layers: list[nn.Module]) -> Iterator[None]:
    """The model with other blocks in the place of its own, which come back in the end."""
    owner, name = blocks_owner(model)
    own = getattr(owner, name)
    setattr(owner, name, nn.ModuleList(layers))
    try:
        yield
    finally:
        setattr(owner, name, own)


def run_blocks(
    model: PreTrainedModel,
    ids: Int[Tensor, "batch seq"],
    start: int = 0,
    hidden: Float[Tensor, "batch seq width"] | None = None,
    stop: int | None = None,
) -> Float[Tensor, "batch seq width"]:
    """Blocks `start` to before `stop` on right-padded rows.

    `hidden` is the residual stream entering block `start` (none for 0: the embedding is looked up).
    Returns the residual stream entering block `stop`, or, where `stop` is None, the final hidden
    states behind the last norm. Rows are padded on the right and positions count from 0, so causal
    attention keeps the padding out of every real token.
    """
    owner, name = blocks_owner(model)
    layers: list[nn.Module] = list(getattr(owner, name))
    tap = _Tap()
    if start > 0:
        assert hidden is not None, "resuming above the embedding needs the residual stream"
        layers[:start] = [_Enter(hidden), *(_Skip() for _ in range(start - 1))]
    if stop is not None:
        layers[stop:] = [tap, *(_Skip() for _ in range(len(layers) - stop - 1))]
    with replaced_blocks(model, layers):
        out = body(model)(input_ids=ids, use_cache=False).last_hidden_state
    return out if tap.seen is None else tap.seen


def logits(
    model: PreTrainedModel, hidden: Float[Tensor, "*any width"]
) -> Float[Tensor, "*any vocabulary"]:
    """Next-token logits of final hidden states, computed in float32, soft-capped as the model's."""
    head: Any = model.get_output_embeddings()
    bias = None if getattr(head, "bias", None) is None else head.bias.float()
    out = F.linear(hidden.float(), head.weight.float(), bias)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return out if cap is None else cap * torch.tanh(out / cap)
