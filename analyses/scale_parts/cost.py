"""What tuning at one location costs and holds, from a model's shape alone: operations and bytes.

Matrix products only: two operations a weight and token forward, and two more back to the tuned
matrix: frozen weights get no gradient. Attention's own products are left out, which at the length
of edits are below one per cent.
"""

from typing import NamedTuple

MASTER, ADAM, GRADIENT = 4, 8, 4
"""Bytes of a tuned weight in float32: itself, two moments of Adam, its gradient."""
STATES, A_NEURON = 5, 3
"""States of the stream's width that autograd keeps of a token at a block, and of the MLP's width
(`locscope/forward/batching.py`)."""


class Shape(NamedTuple):
    """A model of Llama's kind; `heads` and `shared` (key and value heads) of `width // heads`."""

    name: str
    layers: int
    width: int
    inner: int
    heads: int
    shared: int
    vocabulary: int

    @property
    def block(self) -> int:
        """Weights of a block's matrices."""
        attention = 2 * self.width**2 * (1 + self.shared / self.heads)
        return round(attention + 3 * self.width * self.inner)

    @property
    def head(self) -> int:
        """Weights of the head, and of the embeddings once more."""
        return self.vocabulary * self.width

    @property
    def weights(self) -> int:
        """All of them, head and embeddings apart."""
        return self.layers * self.block + 2 * self.head

    @property
    def down(self) -> int:
        """Weights of `mlp.down` of one layer, which is tuned."""
        return self.width * self.inner


class Batch(NamedTuple):
    """Tokens of a batch, and those of them at which logits are wanted."""

    tokens: int
    scored: int


def prefix_flops(shape: Shape, tokens: int, layer: int) -> float:
    """Operations that bring so many tokens to a layer, once for all epochs."""
    return 2.0 * tokens * layer * shape.block


def step_flops(shape: Shape, batch: Batch, layer: int) -> float:
    """Operations of a step that tunes `mlp.down` of a layer, from the stream entering it on."""
    forward = batch.tokens * (shape.layers - layer) * shape.block + batch.scored * shape.head
    # In the tuned block the way back ends at the tuned matrix, the last one of the block.
    back = forward - batch.tokens * (shape.block - shape.down)
    return 2.0 * (forward + back)


def stream_bytes(shape: Shape, tokens: int, itemsize: int) -> int:
    """The prefix cache: the stream entering one layer, of all tokens."""
    return tokens * shape.width * itemsize


def tuned_bytes(shape: Shape, itemsize: int) -> int:
    """What a trial holds of the tuned matrix: master, moments, gradient, and in the model's dtype
    the gradient and the weights as they were."""
    return shape.down * (MASTER + ADAM + GRADIENT + 2 * itemsize)


def graph_bytes(shape: Shape, tokens: int, layer: int, itemsize: int) -> float:
    """The graph of so many tokens from the tuned layer on."""
    a_token = STATES * shape.width + A_NEURON * shape.inner
    return tokens * (shape.layers - layer) * a_token * itemsize
