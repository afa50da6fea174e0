"""Blocks are read ahead in the order in which a pass wants them, two at most."""

import threading
from collections.abc import Iterable

import pytest
import torch

from locscope.models.streaming.ahead import Brought, ReadAhead


def visited(layers: Iterable[int], count: int = 4, *, grad: bool = False) -> list[tuple[int, bool]]:
    """What is brought for these visits, and whether it was brought ahead, by the other thread."""
    brought: list[tuple[int, bool]] = []

    def bring(layer: int) -> Brought:
        brought.append((layer, threading.current_thread() is not threading.main_thread()))
        return Brought({"w": torch.tensor(float(layer))})

    ahead = ReadAhead(bring, count)
    with torch.set_grad_enabled(grad):
        for layer in layers:
            assert ahead.get(layer)["w"] == layer
    ahead.clear()
    return brought


@pytest.mark.parametrize(
    ("visits", "grad", "waited_for"),
    [
        # A pass without gradients, twice: only its first block is waited for.
        ([0, 1, 2, 3, 0, 1, 2, 3], False, [0]),
        ([2, 3, 2, 3], False, [2]),
        # Up and down again, as a step of tuning goes, twice.
        ([1, 2, 3, 3, 2, 1, 1, 2, 3, 3, 2, 1], True, [1]),
        # Block by block, every one for several batches.
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], False, [0]),
    ],
)
def test_only_the_first_block_is_waited_for(
    visits: list[int], grad: bool, waited_for: list[int]
) -> None:
    brought = visited(visits, grad=grad)
    assert [layer for layer, ahead in brought if not ahead] == waited_for


def test_a_block_that_was_not_foreseen_is_brought_all_the_same() -> None:
    assert [layer for layer, ahead in visited([0, 3, 1]) if not ahead] == [0, 3, 1]


def test_an_error_of_the_thread_is_raised_where_the_block_is_wanted() -> None:
    def bring(layer: int) -> Brought:
        if layer:
            raise OSError("the file is gone")
        return Brought({})

    ahead = ReadAhead(bring, 2)
    ahead.get(0)
    with pytest.raises(OSError, match="the file is gone"):
        ahead.get(1)
