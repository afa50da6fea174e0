"""Reading blocks ahead: while one runs, the next one of the pass is on its way to the device."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, final

import torch
from torch import Tensor


class Brought(NamedTuple):
    """Weights of one block by name, on the device; `done` tells when their copies have ended."""

    weights: Mapping[str, Tensor]
    done: torch.cuda.Event | None = None

    def ready(self) -> Mapping[str, Tensor]:
        """The weights, for the stream of work that asks for them."""
        if self.done is not None:
            device = next(iter(self.weights.values())).device
            stream = torch.cuda.current_stream(device)
            stream.wait_event(self.done)
            for weight in self.weights.values():
                # They were allocated for the copying stream, and must not be freed for it while
                # this one works on them.
                weight.record_stream(stream)
        return self.weights


Bring = Callable[[int], Brought]
"""Brings the weights of the block with this number to the device."""


@final
class ReadAhead:
    """One block, and the one that a pass will want next, which a thread brings meanwhile.

    A pass goes up through the blocks; with gradients it comes down again, and begins anew at the
    block at which it began.
    """

    def __init__(self, bring: Bring, count: int) -> None:
        self._bring, self._count = bring, count
        self._here: tuple[int, Brought] | None = None
        self._next: tuple[int, Future[Brought]] | None = None
        self._first = 0
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def get(self, layer: int) -> Mapping[str, Tensor]:
        """The weights of a block; those of another are let go."""
        if self._here is None or self._here[0] != layer:
            before = layer if self._here is None else self._here[0]
            # The one that is left goes first: two blocks are held at most, not three.
            self._here = None
            self._here = (layer, self._taken(layer))
            self._expect(self._after(before, layer))
        elif self._next is None:
            # The lowest block of a pass that came down, with which the next one begins.
            self._expect(min(layer + 1, self._count - 1))
        return self._here[1].ready()

    def clear(self) -> None:
        """Lets go of all blocks, as where what is brought of them has changed."""
        if self._next is not None:
            _drop(self._next[1])
        self._here = self._next = None

    def _taken(self, layer: int) -> Brought:
        following, self._next = self._next, None
        if following is None:
            return self._bring(layer)
        number, future = following
        if number == layer:
            return future.result()
        _drop(future)
        return self._bring(layer)

    def _after(self, before: int, layer: int) -> int:
        """The block that is wanted behind this one."""
        if layer < before and torch.is_grad_enabled():
            # At the lowest one the way down ends: the optimiser has need of the room.
            return layer - 1 if layer > self._first else layer
        if layer <= before:
            self._first = layer
        if layer + 1 < self._count:
            return layer + 1
        return layer - 1 if torch.is_grad_enabled() else self._first

    def _expect(self, layer: int) -> None:
        if self._here is not None and layer != self._here[0]:
            self._next = (layer, self._pool().submit(self._bring, layer))

    def _pool(self) -> ThreadPoolExecutor:
        # A process that was forked has none of its parent's threads.
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = (os.getpid(), ThreadPoolExecutor(1, "locscope-ahead"))
        return self._threads[1]


def _drop(future: Future[Brought]) -> None:
    # Waited for where it is on its way already, so that it takes no room beside the right one.
    if not future.cancel():
        future.exception()
