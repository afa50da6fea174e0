"""Batches: sized by tokens, halved where memory ends, in the order of the items."""

import math
from functools import partial

import pytest
import torch
from families import tiny

from locscope.errors import OutOfMemory
from locscope.forward.batching import KEPT, in_batches, tokens_that_fit, tokens_worth


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


def test_a_scan_that_goes_backward_takes_fewer_tokens_at_once_than_a_forward_one():
    model = tiny("llama", num_hidden_layers=2)
    worth = partial(tokens_worth, states=7, patterns=2, backward=True)
    forward, backward = [], []

    def batches(found, size):
        run = lambda some: found.append(sum(some)) or some  # noqa: E731
        in_batches([6] * 40, run, size=size, tokens_at_once=120)

    batches(forward, lambda length: length)
    batches(backward, lambda length: worth(model, length))
    assert max(forward) == 120
    # Autograd keeps 5 states, three as wide as the MLP, and two patterns, beside what the scan has.
    config = model.config
    a_pattern = config.num_attention_heads * 6 / config.hidden_size
    states = 12 + 3 * config.intermediate_size / config.hidden_size + 4 * a_pattern
    assert max(backward) == 6 * (120 // math.ceil(6 * states / KEPT))
    assert sum(forward) == sum(backward) == 240


def test_what_a_scan_holds_grows_with_rows_length_and_vocabulary_and_is_never_below_a_token():
    model = tiny("gpt2", num_hidden_layers=2)
    assert tokens_worth(model, 7, states=1) == 7
    assert tokens_worth(model, 7, rows=3, states=2 * KEPT) == 42
    assert tokens_worth(model, 64, states=0, patterns=KEPT) == 64 * 64 * 4 // 32
    whole = 7 * model.config.vocab_size / (2 * 32)
    assert tokens_worth(model, 7, states=0, logits=KEPT) == math.ceil(whole)
    half = model.to(torch.bfloat16)
    assert tokens_worth(half, 7, states=0, logits=KEPT) == math.ceil(2 * whole)


def test_a_batch_within_a_batch_that_does_not_fit_halves_the_outer_one():
    tried = []

    def full(some):
        raise MemoryError

    def run(some):
        tried.append(len(some))
        if len(some) > 1:
            in_batches([1], full, size=lambda item: item, tokens_at_once=9)
        return some

    assert in_batches([1, 2], run, size=lambda item: item, tokens_at_once=9) == [1, 2]
    assert tried == [2, 1, 1]
