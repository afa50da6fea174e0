"""A forward pass resumed inside a block, without what the final states do not need.

The output of the first block's attention is given, so it is not run. Of the last block only the
last token of every row is read, so only that one goes through its query, its output matrix and its
MLP.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from locscope.forward.blocks import replaced_modules, run_blocks
from locscope.forward.prompts import at_last
from locscope.models.families import PLAIN
from locscope.models.parts import blocks, family_of


@final
class _Known(nn.Module):
    """An attention whose output is given: the sum of its heads and its bias.

    Where it `joins`, it returns the sum with the stream, which it is given second.
    """

    def __init__(self, out: Float[Tensor, "rows seq width"], joins: bool) -> None:
        super().__init__()
        self.out, self.joins = out, joins

    def forward(self, *given: Tensor, **_: object) -> tuple[Tensor, None]:
        return (self.out + given[1] if self.joins else self.out), None


@final
class _AtLast(nn.Module):
    """A module that takes token by token, run for the last token of each row; zeros elsewhere."""

    def __init__(self, own: nn.Module, last: Int[Tensor, " rows"]) -> None:
        super().__init__()
        self.own, self.last = own, last

    def forward(self, hidden: Float[Tensor, "rows seq inner"]) -> Float[Tensor, "rows seq outer"]:
        at_end = self.own(at_last(hidden, self.last)[:, None])[:, 0]
        # Zeros rather than nothing: what comes next is made for all tokens, and is read at the
        # last.
        out = at_end.new_zeros(*hidden.shape[:2], at_end.shape[-1])
        out[torch.arange(len(at_end), device=at_end.device), self.last] = at_end
        return out


def resumed(
    model: PreTrainedModel,
    ids: Int[Tensor, "rows seq"],
    last: Int[Tensor, " rows"],
    layer: int,
    before: Float[Tensor, "rows seq width"] | None,
    out: Float[Tensor, "rows seq width"],
) -> Float[Tensor, "rows width"]:
    """Final states of the last tokens, from the stream entering a layer and its attention's output.

    `out` is the sum of the heads and the bias, before any norm that follows it; `before` may be
    None at layer 0. `model` is the plain one, without hooks.
    """
    modules: dict[str, nn.Module] = dict(last_block(model, last))
    family = family_of(model)
    attention = family.attention
    if layer == len(blocks(model)) - 1:
        # Wrapping what lies within an attention that is not run would only get in its way.
        modules = {path: own for path, own in modules.items() if f".{attention}." not in path}
    modules[_path(model, layer, attention)] = _Known(out, family.joins)
    with replaced_modules(model, modules):
        return at_last(run_blocks(model, ids, layer, before), last)


def last_block(model: PreTrainedModel, last: Int[Tensor, " rows"]) -> dict[str, nn.Module]:
    """Replacements for modules of the last block, which run for the last tokens alone.

    Nothing reads the output of these modules at other tokens. Keys and values are read at all
    tokens, so a fused matrix that makes them too is left as it is.
    """
    family, layer = family_of(model), len(blocks(model)) - 1
    alone = [part for part in ("attn.o", "attn.q") if family.layout(part) == PLAIN]
    names = [family.leaves[part] for part in alone if part in family.leaves]
    names += [family.mlp] if family.mlp_alone else []
    paths = [_path(model, layer, name) for name in names]
    return {path: _AtLast(model.get_submodule(path), last) for path in paths}


def earlier(
    cache: DynamicCache, token: int, used: range, copied: Callable[[Tensor], Tensor]
) -> DynamicCache | None:
    """Keys and values of the tokens before this one, copied row by row for the layers that are
    used.

    The model asks the other layers of a cache for their length alone; before a first token there
    is nothing.
    """
    if token == 0:
        return None
    layers: list[Any] = cache.layers
    pairs = [(layer.keys[:, :, :token], layer.values[:, :, :token]) for layer in layers]
    return DynamicCache(
        [
            tuple(copied(part) if i in used else part[:1] for part in pair)
            for i, pair in enumerate(pairs)
        ]
    )


def _path(model: PreTrainedModel, layer: int, name: str) -> str:
    family = family_of(model)
    return f"{family.blocks}.{layer}.{name}"
