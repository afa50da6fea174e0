"""Texts to token rows: a prompt and its answer, tokenised once, together.

The rows of a `PackedTokens` lie packed, end to end, without padding. The stop token that follows an
answer is a label, never an input: nothing after it is scored.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from locscope.errors import UsageError
from locscope.models.plain_errors import plain_errors
from locscope.scoring.text import REASONING

PROMPT_FORMATS = ("raw", "chat", "qa")
NO_LABEL = -1
WITHOUT_SPACES = (
    *("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO"),
    *("THAI", "LAO", "KHMER", "MYANMAR"),
)
"""Beginnings of the Unicode names of letters of scripts that put no space between words."""


@dataclass(frozen=True)
class TokenRow:
    """Token ids of one text; `ids[answer:]` is the answer, `answer` is at least 1.

    `final` is the label after the last token: a stop token, or NO_LABEL. Rows that are not
    `aligned` tokenise differently with and without the answer: only decoding judges them.
    """

    ids: tuple[int, ...]
    answer: int
    final: int = NO_LABEL
    aligned: bool = True


@dataclass(frozen=True)
class PackedTokens:
    """Rows packed end to end, on the CPU."""

    ids: Int[Tensor, " tokens"]
    offsets: Int[Tensor, " rows_and_one"]
    answers: Int[Tensor, " rows"]
    finals: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return self.answers.numel()

    @cached_property
    def lengths(self) -> Int[Tensor, " rows"]:
        """Tokens of every row."""
        return self.offsets.diff()


def frame(tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_format: str) -> str:
    """The prompt as the model reads it, in `raw`, `chat` or `qa` format.

    Raises UsageError for `chat` where the tokenizer has no chat template, or one that fails.
    """
    if prompt_format == "raw":
        return prompt
    if prompt_format == "qa":
        return f"Question: {prompt}\nAnswer:"
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError("--prompt-format chat: this tokenizer has no chat template; use raw or qa")
    messages = [{"role": "user", "content": prompt}]
    quiet: dict[str, Any] = {}
    # A template that does not know the option may refuse it.
    if "enable_thinking" in str(tokenizer.chat_template):
        quiet = {"enable_thinking": False}
    # The template is a program that came with the model.
    full = "no memory for the chat template: let the process have more (ulimit -v)"
    with plain_errors("--prompt-format chat: the tokenizer's chat template fails", full):
        text = str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **quiet
            )
        )
    begun, closed = REASONING
    # A template that opens a reasoning block all the same: the block is closed, empty.
    if text.rstrip().endswith(begun):
        text = f"{text.rstrip()}\n\n{closed}\n\n"
    return text


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    answer: str,
    stop: int,
    prompt_format: str = "raw",
) -> TokenRow:
    """Prompt and answer as one row that ends in the label `stop`.

    The answer's tokens are those that reach beyond the prompt's characters (from the tokenizer's
    offsets), so the space between belongs to the answer. Raises UsageError where it has none.
    """
    framed = frame(tokenizer, prompt, prompt_format)
    text = framed + _joint(framed, answer, prompt_format) + answer
    specials = _adds_specials(prompt_format)
    ids, spans = _tokens(tokenizer, text, specials)
    # The prompt by itself too: a tokenizer may join its end with the beginning of the answer.
    alone, _ = _tokens(tokenizer, framed, specials)
    inside = [i for i, (_, end) in enumerate(spans) if end > len(framed)]
    if not inside or not answer.strip():
        raise UsageError(f"target '{answer}' of prompt '{prompt}' is empty after tokenisation")
    # Nothing predicts the first token of a row, so it is never one of the answer.
    first = max(inside[0], 1)
    return TokenRow(ids, first, stop, aligned=ids[:first] == alone)


def _joint(framed: str, answer: str, prompt_format: str) -> str:
    """What joins prompt and answer: no space behind a chat template or a script that is written
    without spaces (nor before such a script, behind a prompt without letters)."""
    # Punctuation tells no script, so the nearest letter does.
    letters = [char for char in framed if char.isalpha()]
    letter = letters[-1] if letters else next(filter(str.isalpha, answer), "")
    spaceless = unicodedata.name(letter or " ", "").startswith(WITHOUT_SPACES)
    return "" if spaceless or prompt_format == "chat" else " "


def _adds_specials(prompt_format: str) -> bool:
    # A chat template writes BOS itself.
    return prompt_format != "chat"


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_format: str = "raw"
) -> tuple[int, ...]:
    """The ids of a prompt alone, as decoding starts from it."""
    framed = frame(tokenizer, prompt, prompt_format)
    return _tokens(tokenizer, framed, _adds_specials(prompt_format))[0]


def prompt_spans(
    tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_format: str = "raw"
) -> tuple[tuple[int, int], ...]:
    """Where the tokens of `encode_prompt` stand in the framed prompt: characters, half-open."""
    framed = frame(tokenizer, prompt, prompt_format)
    return _tokens(tokenizer, framed, _adds_specials(prompt_format))[1]


def encode_text(
    tokenizer: PreTrainedTokenizerBase, text: str, *, specials: bool
) -> TokenRow | None:
    """A running text of which all tokens but the first are scored; None if there is no second."""
    ids, _ = _tokens(tokenizer, text, specials)
    return TokenRow(ids, 1) if len(ids) > 1 else None


def _tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, specials: bool
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Ids and their characters, without what a tokenizer's template appends behind the text."""
    coded = tokenizer(text, add_special_tokens=specials, return_offsets_mapping=True)
    ids, spans = list(coded["input_ids"]), list(coded["offset_mapping"])
    special = set(tokenizer.all_special_ids)
    # No answer could follow an end token. One that stands in the text itself has characters.
    while len(ids) > 1 and ids[-1] in special and tuple(spans[-1]) == (0, 0):
        ids.pop()
        spans.pop()
    return tuple(ids), tuple((first, stop) for first, stop in spans)


def pack(rows: Sequence[TokenRow]) -> PackedTokens:
    """The rows, packed end to end."""
    lengths = torch.tensor([0, *(len(row.ids) for row in rows)])
    return PackedTokens(
        ids=torch.tensor([i for row in rows for i in row.ids], dtype=torch.long),
        offsets=lengths.cumsum(0),
        answers=torch.tensor([row.answer for row in rows], dtype=torch.long),
        finals=torch.tensor([row.final for row in rows], dtype=torch.long),
    )


def picked(packed: PackedTokens, rows: Sequence[int]) -> PackedTokens:
    """Some of the rows, in this order."""
    index = torch.tensor(list(rows), dtype=torch.long)
    spans = zip(packed.offsets[index].tolist(), packed.offsets[index + 1].tolist(), strict=True)
    return PackedTokens(
        ids=torch.cat([packed.ids[first:stop] for first, stop in spans]),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), packed.lengths[index].cumsum(0)]),
        answers=packed.answers[index],
        finals=packed.finals[index],
    )
