"""Greedy decoding of many prompts, as by `generate` without any logits processor.

Ties go to the lowest id, logits are float32, a row ends at a stop token, a newline or a full stop.
A reasoning block is no part of the answer: no text ends the row there, and no token counts.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from locscope.forward.batching import in_batches
from locscope.forward.head import logits
from locscope.models.parts import body
from locscope.scoring.text import REASONING, cut_answer, ended, may_reason, without_reasoning

Ending = Literal["stop", "text", "length", "given up", "not decoded"]
"""A row ended in a stop token, in a newline or full stop in its text, at the length limit, or it
was given up because it could no longer match."""

MAX_TOKENS = 32
"""As LocFT-BF's scorer (`eval_edit_metric.py`)."""
REASONING_TOKENS = 512
"""Room for a reasoning block; a row that is still in it then has no answer."""


SPAN_TOKENS = 10
"""The longest continuation of a neighbour that is compared, where no answer of it is stated."""


@dataclass(frozen=True)
class Output:
    """What was decoded after one prompt.

    `ids` are the tokens before the stop token or up to the one that holds the newline or full stop
    (or, behind a point that may have been a decimal one, the next); `span` is how many of them hold
    text of the answer, `text` the answer itself, cut and stripped. The first `reasoning` tokens are
    a reasoning block.
    """

    ids: tuple[int, ...]
    span: int
    text: str
    ending: Ending
    reasoning: int = 0


@dataclass(frozen=True)
class TextGenerator:
    """What decoding needs: the model, its tokenizer and its full set of stop tokens."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stops: tuple[int, ...]


@dataclass(frozen=True)
class Request:
    """A prompt to continue by at most `limit` tokens.

    With `to_stop` only a stop token (or the limit) ends it, and its text is whole. `hopeless` may
    end it early: it tells of the text so far that no continuation could matter. `known` are tokens
    with which decoding certainly begins: the model is not asked for them again.
    """

    prompt: tuple[int, ...]
    limit: int = MAX_TOKENS
    to_stop: bool = False
    hopeless: Callable[[str], bool] | None = None
    known: tuple[int, ...] = ()


def decode(
    text_generator: TextGenerator, requests: Sequence[Request], tokens_at_once: int = 16384
) -> tuple[Output, ...]:
    """The greedy continuation of every prompt, in their order."""

    def run(batch: Sequence[Request]) -> list[Output]:
        return _decode_batch(text_generator, batch)

    def size(request: Request) -> int:
        return len(request.prompt) + request.limit

    early = [_foretold(text_generator, request) for request in requests]
    open_ones = [r for r, output in zip(requests, early, strict=True) if output is None]
    decoded = iter(in_batches(open_ones, run, size=size, tokens_at_once=tokens_at_once))
    return tuple(next(decoded) if output is None else output for output in early)


def replayed(text_generator: TextGenerator, request: Request, whole: Output) -> Output:
    """What decoding gives for a request, read off a continuation of its prompt that is as long or
    longer and was ended by nothing but a stop token."""
    taken: list[int] = []
    for token in whole.ids:
        output = _advance(text_generator, request, taken, token)
        if output is not None:
            return output
    return _finish(text_generator, request, taken, whole.ending)


def _foretold(text_generator: TextGenerator, request: Request) -> Output | None:
    """What decoding gives, where the known tokens alone tell; the model is not asked."""
    taken: list[int] = []
    outputs = (_advance(text_generator, request, taken, token) for token in request.known)
    return next((output for output in outputs if output is not None), None)


def _decode_batch(text_generator: TextGenerator, requests: Sequence[Request]) -> list[Output]:
    begun = [request.prompt + request.known for request in requests]
    ids, mask = _left_padded(begun, text_generator.model.device)
    # With the config, so that sliding layers keep no more than their window.
    cache = DynamicCache(config=text_generator.model.config)
    rows = [list(request.known) for request in requests]
    done: dict[int, Output] = {}
    going = list(range(len(requests)))
    while going:
        tokens = _next_tokens(text_generator.model, ids, mask, cache)
        for row, token in zip(going, tokens.tolist(), strict=True):
            output = _advance(text_generator, requests[row], rows[row], token)
            if output is not None:
                done[row] = output
        ids, mask = tokens[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        # Rows that have ended leave the batch, or the longest answer would decide the work for all.
        keep = [i for i, row in enumerate(going) if row not in done]
        if keep and len(keep) < len(going):
            index = torch.tensor(keep, device=ids.device)
            ids, mask = ids[index], mask[index]
            cache.batch_select_indices(index)
        going = [going[i] for i in keep]
    return [done[row] for row in range(len(requests))]


@torch.no_grad()
def _next_tokens(
    model: PreTrainedModel,
    ids: Int[Tensor, "batch new"],
    mask: Bool[Tensor, "batch seen"],
    cache: DynamicCache,
) -> Int[Tensor, " batch"]:
    # By the mask and not by the column: padding on the left is no position.
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
        # On the left, so that the next token of every row is in the last column.
        ids[row, longest - len(prompt) :] = torch.as_tensor(list(prompt))
        mask[row, longest - len(prompt) :] = True
    return ids.to(device), mask.to(device)


def _advance(
    text_generator: TextGenerator, request: Request, taken: list[int], token: int
) -> Output | None:
    """Takes one more token; the output if the row has ended with it."""
    if token in text_generator.stops:
        return _finish(text_generator, request, taken, "stop")
    taken.append(token)
    text = text_of(text_generator, taken)
    if text.lstrip().startswith(REASONING[0]) and may_reason(text):
        full = len(taken) >= REASONING_TOKENS
        return _finish(text_generator, request, taken, "length") if full else None
    answer = without_reasoning(text)
    if not request.to_stop and ended(answer):
        return _finish(text_generator, request, taken, "text")
    if len(taken) - _reasoning(text_generator, taken, text) >= request.limit:
        return _finish(text_generator, request, taken, "length")
    if request.hopeless is not None and not may_reason(text) and request.hopeless(answer):
        return _finish(text_generator, request, taken, "given up")
    return None


def _finish(
    text_generator: TextGenerator, request: Request, taken: list[int], ending: Ending
) -> Output:
    text, span = text_of(text_generator, taken), len(taken)
    answer = _answer(text, request)
    # The token that ended the text may hold the answer's own last letters too.
    while (
        ending == "text"
        and span
        and _answer(text_of(text_generator, taken[: span - 1]), request) == answer
    ):
        span -= 1
    return Output(tuple(taken), span, answer, ending, _reasoning(text_generator, taken, text))


def _answer(text: str, request: Request) -> str:
    answer = without_reasoning(text)
    return answer.strip() if request.to_stop else cut_answer(answer)


def _reasoning(text_generator: TextGenerator, taken: list[int], text: str) -> int:
    """Tokens of the closed reasoning block that the text begins with; 0 where there is none."""
    begun, closed = REASONING
    if not text.lstrip().startswith(begun) or closed not in text:
        return 0
    # By bisection: once closed, a block stays so, and each look decodes the text again.
    counts = range(len(taken) + 1)
    return bisect_left(counts, True, key=lambda n: closed in text_of(text_generator, taken[:n]))


def text_of(text_generator: TextGenerator, ids: Sequence[int]) -> str:
    """The tokens' text as it stands: no clean-up of spaces, which would change, with later tokens,
    text that was already judged."""
    tokenizer = text_generator.tokenizer
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)
