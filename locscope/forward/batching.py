"""Batches that fit: sized by tokens, halved where memory runs out; the results are the same."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from math import ceil
from typing import TypeVar

from transformers import PreTrainedModel

from locscope.errors import OutOfMemory, ran_out_of_memory
from locscope.progress import Progress, stage

KEPT = 8
"""States as wide as the residual stream that a forward scan may keep of a token at every layer."""
_FLOAT32 = 4
LEAST_TOKENS, MOST_TOKENS = 64, 16384

Item = TypeVar("Item")
Result = TypeVar("Result")


def tokens_worth(
    model: PreTrainedModel,
    length: int,
    rows: int = 1,
    *,
    states: int,
    patterns: int = 0,
    backward: bool = False,
    logits: int = 0,
) -> int:
    """How many tokens of a scan that keeps `KEPT` states weigh as much as these rows of one that
    keeps more at once.

    It keeps of every token at every layer `states` (as wide as the stream, in the model's
    precision: one in float32 counts as two of half) and `patterns` of attention (for every head a
    number per token of the prompt), with `backward` the graph of autograd, too; and once for every
    token so many `logits` of the whole vocabulary, in float32.
    """
    config = model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    a_pattern = config.num_attention_heads * length / width
    numbers = states + patterns * a_pattern
    if backward:
        numbers += _graph(model, a_pattern)
    vocabulary = config.vocab_size * _FLOAT32 / model.dtype.itemsize
    numbers += logits * vocabulary / (layers * width)
    return ceil(rows * length * max(1.0, numbers / KEPT))


def _graph(model: PreTrainedModel, a_pattern: float) -> float:
    """States that autograd keeps of a token at a layer: those of norms, attention and the stream,
    what enters and leaves the MLP's nonlinearity and its product, and scores and pattern.

    As counted on the hooked Llama: 4.7 + 3.0 x the MLP's width, in widths of the stream.
    """
    config = model.config.get_text_config()
    hidden = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return 5 + 3 * hidden / config.hidden_size + 2 * a_pattern


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

    `size` is in tokens of one item (`tokens_worth` others where it is heavier), so that a batch
    padded to its longest has at most `tokens_at_once`; items of a batch are all `alike`. A batch
    that does not fit memory is halved, also where batches within it were halved in vain; `done` is
    told how many items each batch had. Raises OutOfMemory where a single item does not fit.
    """
    by_row: dict[int, Result] = {}
    groups: dict[Hashable, list[int]] = {}
    for row, item in enumerate(items):
        groups.setdefault(alike(item), []).append(row)
    sizes = [size(item) for item in items]
    waiting = [batch for rows in groups.values() for batch in packed(rows, sizes, tokens_at_once)]
    while waiting:
        rows = waiting.pop(0)
        try:
            results = run([items[row] for row in rows])
        except (MemoryError, RuntimeError, OutOfMemory) as error:
            if not ran_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise OutOfMemory(
                    f"{size(items[rows[0]])} tokens of one request do not fit the device: "
                    "take a smaller model, shorter prompts or --dtype bfloat16"
                ) from None
            # This batch alone: those that wait may be shorter and fit as they are.
            waiting = [rows[: len(rows) // 2], rows[len(rows) // 2 :], *waiting]
            continue
        by_row.update(zip(rows, results, strict=True))
        done(len(rows))
    return [by_row[row] for row in range(len(items))]


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


def packed(
    rows: Sequence[int], sizes: Sequence[int] | Mapping[int, int], tokens_at_once: int
) -> list[list[int]]:
    """The rows in batches of like size, each of at most that many tokens padded to its longest;
    `sizes` has that of every row."""
    batches: list[list[int]] = []
    # By length: a batch is padded to its longest row, and padding is work too.
    for row in sorted(rows, key=sizes.__getitem__):
        if batches and (len(batches[-1]) + 1) * sizes[row] <= tokens_at_once:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
