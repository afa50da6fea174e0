"""Greedy decoding of many prompts, as `generate` without any logits processor does it.

Ties go to the lowest id, logits are float32, a row ends at a stop token, a newline or a full stop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from locscope.engine.blocks import logits
from locscope.models.parts import body
from locscope.scoring.text import cut_answer

Ending = Literal["stop", "text", "length"]
"""A row ended in a stop token, in a newline or full stop in its text, or at the length limit."""

ENDS_TEXT = frozenset(".\n")
MAX_TOKENS = 32
"""As LocFT-BF's scorer (`eval_edit_metric.py`)."""


@dataclass(frozen=True)
class Output:
    """What was decoded after one prompt.

    `ids` are the tokens before the stop token or up to the one that holds the newline or full stop;
    `span` is how many of them hold text of the answer, `text` the answer itself, cut and stripped.
    """

    ids: tuple[int, ...]
    span: int
    text: str
    ending: Ending


@dataclass(frozen=True)
class Speaker:
    """What decoding needs to know: the model, its tokenizer and its full set of stop tokens."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stops: tuple[int, ...]


def decode(
    speaker: Speaker,
    prompts: Sequence[Sequence[int]],
    max_tokens: int = MAX_TOKENS,
    *,
    to_stop: bool = False,
    tokens_at_once: int = 16384,
) -> tuple[Output, ...]:
    """The greedy continuation of every prompt, in their order.

    With `to_stop` only a stop token (or the length) ends a row, and its text is whole.
    """
    outputs: dict[int, Output] = {}
    for rows in _batches(prompts, max_tokens, tokens_at_once):
        found = _decode_batch(speaker, [prompts[row] for row in rows], max_tokens, to_stop)
        outputs.update(zip(rows, found, strict=True))
    return tuple(outputs[row] for row in range(len(prompts)))


def _batches(
    prompts: Sequence[Sequence[int]], max_tokens: int, tokens_at_once: int
) -> Iterator[list[int]]:
    batch: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda r: len(prompts[r])):
        if batch and (len(batch) + 1) * (len(prompts[row]) + max_tokens) > tokens_at_once:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _decode_batch(
    speaker: Speaker, prompts: Sequence[Sequence[int]], max_tokens: int, to_stop: bool
) -> list[Output]:
    ids, mask = _left_padded(prompts, speaker.model.device)
    cache = DynamicCache(config=speaker.model.config)
    said: list[list[int]] = [[] for _ in prompts]
    done: list[Output | None] = [None for _ in prompts]
    for _ in range(max_tokens):
        tokens = _next_tokens(speaker.model, ids, mask, cache)
        for row, token in enumerate(tokens.tolist()):
            if done[row] is None:
                done[row] = _advance(speaker, said[row], token, to_stop)
        if all(done):
            break
        ids, mask = tokens[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return [out or _finish(speaker, said[row], "length", to_stop) for row, out in enumerate(done)]


@torch.no_grad()
def _next_tokens(
    model: PreTrainedModel,
    ids: Int[Tensor, "batch new"],
    mask: Bool[Tensor, "batch seen"],
    cache: DynamicCache,
) -> Int[Tensor, " batch"]:
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    out = body(model)(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )
    return logits(model, out.last_hidden_state[:, -1]).argmax(-1)


def _left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "batch seq"], Bool[Tensor, "batch seq"]]:
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros(len(prompts), longest, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.as_tensor(list(prompt))
        mask[row, longest - len(prompt) :] = True
    return ids.to(device), mask.to(device)


def _advance(speaker: Speaker, said: list[int], token: int, to_stop: bool) -> Output | None:
    """Takes one more token; the output if the row has ended with it."""
    if token in speaker.stops:
        return _finish(speaker, said, "stop", to_stop)
    said.append(token)
    if to_stop or not ENDS_TEXT & set(_text(speaker, [token])):
        return None
    return _finish(speaker, said, "text", to_stop)


def _finish(speaker: Speaker, said: list[int], ending: Ending, to_stop: bool) -> Output:
    text = _text(speaker, said)
    answer = text.strip() if to_stop else cut_answer(text)
    # The token that ended the text may hold the answer's own last letters too.
    holds_text = ending != "text" or _text(speaker, said[:-1]).strip() != answer
    return Output(tuple(said), len(said) if holds_text else len(said) - 1, answer, ending)


def _text(speaker: Speaker, ids: list[int]) -> str:
    return str(speaker.tokenizer.decode(ids, skip_special_tokens=True))
