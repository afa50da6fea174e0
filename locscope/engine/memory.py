"""Batches that fit: sized by tokens, halved where memory ends; the results do not depend on it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from locscope.errors import OutOfMemory

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    size: Callable[[Item], int],
    tokens_at_once: int,
    done: Callable[[int], None] = lambda _: None,
) -> list[Result]:
    """`run` over batches of items of like size; the results in the order of the items.

    `size` is in tokens of one item, so that a batch padded to its longest has at most
    `tokens_at_once`. A batch that does not fit memory is halved; `done` is told how many items
    each batch had. An OutOfMemory where a single item does not fit.
    """
    found: dict[int, Result] = {}
    waiting = _batches([size(item) for item in items], tokens_at_once)[::-1]
    while waiting:
        rows = waiting.pop()
        try:
            results = run([items[row] for row in rows])
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(rows) == 1:
                raise OutOfMemory(
                    f"{size(items[rows[0]])} tokens of one request do not fit the device: "
                    "take a smaller model, shorter prompts or --dtype bfloat16"
                ) from None
            waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            continue
        found.update(zip(rows, results, strict=True))
        done(len(rows))
    return [found[row] for row in range(len(items))]


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device."""
    words = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "allocate memory" in words
        or "out of memory" in words
    )


def _batches(sizes: Sequence[int], tokens_at_once: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for row in sorted(range(len(sizes)), key=sizes.__getitem__):
        if batches and (len(batches[-1]) + 1) * sizes[row] <= tokens_at_once:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
