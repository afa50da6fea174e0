"""Batches that fit: sized by tokens, halved where memory ends; the results do not depend on it."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from locscope.errors import OutOfMemory
from locscope.progress import Progress, stage

KEPT = 8
LEAST_TOKENS, MOST_TOKENS = 64, 16384

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    size: Callable[[Item], int],
    tokens_at_once: int,
    alike: Callable[[Item], Hashable] = lambda _: None,
    done: Callable[[int], None] = lambda _: None,
) -> list[Result]:
    """`run` over batches of items of like size; the results in the order of the items.

    `size` is in tokens of one item, so that a batch padded to its longest has at most
    `tokens_at_once`; items of a batch are all `alike`. A batch that does not fit memory is halved;
    `done` is told how many items each batch had. An OutOfMemory where a single item does not fit.
    """
    found: dict[int, Result] = {}
    groups: dict[Hashable, list[int]] = {}
    for row, item in enumerate(items):
        groups.setdefault(alike(item), []).append(row)
    sizes = [size(item) for item in items]
    waiting = [batch for rows in groups.values() for batch in _batches(rows, sizes, tokens_at_once)]
    while waiting:
        rows = waiting.pop(0)
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
            waiting = [rows[: len(rows) // 2], rows[len(rows) // 2 :], *waiting]
            continue
        found.update(zip(rows, results, strict=True))
        done(len(rows))
    return [found[row] for row in range(len(items))]


def in_stage(
    progress: Progress,
    name: str,
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    size: Callable[[Item], int],
    tokens_at_once: int,
    alike: Callable[[Item], Hashable] = lambda _: None,
) -> list[Result]:
    """`in_batches`, shown as a stage that goes on with every item; without a name not shown."""

    def done(count: int) -> None:
        for _ in range(count if name else 0):
            progress.advance()

    with stage(progress, name, len(items)) if name else nullcontext():
        return in_batches(
            items, run, size=size, tokens_at_once=tokens_at_once, alike=alike, done=done
        )


def tokens_that_fit(model: PreTrainedModel, device_bytes: int) -> int:
    """How many tokens a pass may hold at a time within so many bytes of activations.

    Scans keep up to `KEPT` states a token at every layer (entering, keys and values, outputs, clean
    and corrupted); a pass without any keeps far less.
    """
    config = model.config.get_text_config()
    a_token = KEPT * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
    return max(LEAST_TOKENS, min(MOST_TOKENS, device_bytes // a_token))


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device."""
    words = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "allocate memory" in words
        or "out of memory" in words
    )


def _batches(rows: Sequence[int], sizes: Sequence[int], tokens_at_once: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for row in sorted(rows, key=sizes.__getitem__):
        if batches and (len(batches[-1]) + 1) * sizes[row] <= tokens_at_once:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
