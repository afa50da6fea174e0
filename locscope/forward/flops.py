"""What a trial costs in floating-point operations, counted from shapes before it runs.

A multiply-add is two operations; backward costs twice the forward. Attention's own products are
left out: at the lengths of edits they are below one per cent of those with the weights.
"""

from dataclasses import dataclass

from locscope.records import ModelInfo


@dataclass(frozen=True)
class Shape:
    """Weights that a token meets: of one block, and of the head."""

    layers: int
    block: int
    head: int


def shape_of(info: ModelInfo) -> Shape:
    """The shape of a model from its grid of parts."""
    block = next(one.parameters for one in info.grid if one.part == "block")
    return Shape(info.layers, block, info.vocabulary * info.width)


def forward_flops(shape: Shape, tokens: int, scored: int, start: int = 0) -> float:
    """A forward pass from block `start` on, with logits at the scored positions."""
    return 2.0 * (tokens * (shape.layers - start) * shape.block + scored * shape.head)


def step_flops(shape: Shape, tokens: int, scored: int, start: int) -> float:
    """A training step on the prefix cache: forward, backward to the tuned layer."""
    return 3.0 * forward_flops(shape, tokens, scored, start)
