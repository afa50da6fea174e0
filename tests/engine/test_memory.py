"""Batches: sized by tokens, halved where memory ends, in the order of the items."""

import pytest
import torch
from families import tiny

from locscope.engine.memory import in_batches, tokens_that_fit
from locscope.errors import OutOfMemory


def sizes_of(batches, **settings):
    def run(some):
        batches.append(list(some))
        return [10 * item for item in some]

    return in_batches([5, 1, 4, 2, 3], run, size=lambda item: item, **settings)


def test_results_are_in_the_order_of_the_items_and_batches_fit():
    batches = []
    assert sizes_of(batches, tokens_at_once=6) == [50, 10, 40, 20, 30]
    assert all(max(batch) * len(batch) <= 6 for batch in batches)
    assert len(batches) < 5


def test_a_single_item_may_be_larger_than_a_batch():
    batches = []
    assert sizes_of(batches, tokens_at_once=1) == [50, 10, 40, 20, 30]
    assert len(batches) == 5


def test_items_of_a_batch_are_alike():
    batches = []
    sizes_of(batches, tokens_at_once=99, alike=lambda item: item % 2)
    assert all(len({item % 2 for item in batch}) == 1 for batch in batches)


FULL = (
    torch.OutOfMemoryError("CUDA"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", FULL)
def test_a_batch_that_does_not_fit_is_halved(error):
    tried = []

    def run(some):
        tried.append(len(some))
        if len(some) > 2:
            raise error
        return [item + 1 for item in some]

    done = []
    found = in_batches(list(range(8)), run, size=lambda _: 1, tokens_at_once=8, done=done.append)
    assert found == list(range(1, 9))
    assert tried == [8, 4, 2, 2, 4, 2, 2]
    assert done == [2, 2, 2, 2]


def test_one_item_that_does_not_fit_is_said_and_other_errors_pass():
    def full(some):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="7 tokens of one request do not fit"):
        in_batches([7], full, size=lambda item: item, tokens_at_once=9)

    def broken(some):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches([7], broken, size=lambda item: item, tokens_at_once=9)


def test_more_layers_leave_room_for_fewer_tokens():
    small, deep = tiny("llama", num_hidden_layers=2), tiny("llama", num_hidden_layers=8)
    room = 1 << 20
    assert tokens_that_fit(small, room) == 4 * tokens_that_fit(deep, room)
    assert tokens_that_fit(deep, 0) > 0
