"""Texts to token rows: a prompt and its answer, tokenised once, together.

The rows of a `PackedTokens` lie packed, end to end, without padding. The stop token that follows an
answer is a label, never an input: nothing after it is scored.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from locscope.errors import UsageError
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
class Framed:
    """Prompt and answer as they are written for the model in one prompt format."""

    prompt: str
    joint: str
    specials: bool


@dataclass(frozen=True)
class PackedTokens:
    """Rows packed end to end, on the CPU."""

    ids: Int[Tensor, " tokens"]
    offsets: Int[Tensor, " rows_and_one"]
    answers: Int[Tensor, " rows"]
    finals: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return self.answers.numel()

    @property
    def lengths(self) -> Int[Tensor, " rows"]:
        """Tokens of every row."""
        return self.offsets.diff()


def frame(tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_format: str) -> Framed:
    """The prompt in `raw`, `chat` or `qa` format, and what joins it to its answer.

    A chat template is asked not to let the model think, where it knows of that; where it opens a
    reasoning block all the same, that is closed, empty.
    """
    if prompt_format == "raw":
        return Framed(prompt, " ", specials=True)
    if prompt_format == "qa":
        return Framed(f"Question: {prompt}\nAnswer:", " ", specials=True)
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError("--prompt-format chat: this tokenizer has no chat template; use raw or qa")
    messages = [{"role": "user", "content": prompt}]
    quiet: dict[str, Any] = {}
    if "enable_thinking" in str(tokenizer.chat_template):
        quiet = {"enable_thinking": False}
    text = str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **quiet)
    )
    begun, closed = REASONING
    if text.rstrip().endswith(begun):
        text = f"{text.rstrip()}\n\n{closed}\n\n"
    return Framed(text, "", specials=False)


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    answer: str,
    stop: int,
    prompt_format: str = "raw",
) -> TokenRow:
    """Prompt and answer as one row that ends in the label `stop`.

    The answer's tokens are those that reach beyond the prompt's characters (from the tokenizer's
    offsets), so the space between belongs to the answer.
    """
    framed = frame(tokenizer, prompt, prompt_format)
    text = framed.prompt + _joint(framed, answer) + answer
    ids, ends = _tokens(tokenizer, text, framed.specials)
    alone, _ = _tokens(tokenizer, framed.prompt, framed.specials)
    inside = [i for i, end in enumerate(ends) if end > len(framed.prompt)]
    if not inside or not answer.strip():
        raise UsageError(f"target '{answer}' of prompt '{prompt}' is empty after tokenisation")
    first = max(inside[0], 1)
    return TokenRow(ids, first, stop, aligned=ids[:first] == alone)


def _joint(framed: Framed, answer: str) -> str:
    """What joins prompt and answer: no space behind a script that is written without (nor before
    one, behind a prompt without letters)."""
    letters = [char for char in framed.prompt if char.isalpha()]
    letter = letters[-1] if letters else next(filter(str.isalpha, answer), "")
    spaceless = unicodedata.name(letter or " ", "").startswith(WITHOUT_SPACES)
    return "" if spaceless else framed.joint


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_format: str = "raw"
) -> tuple[int, ...]:
    """The ids of a prompt alone, as decoding starts from it."""
    framed = frame(tokenizer, prompt, prompt_format)
    return _tokens(tokenizer, framed.prompt, framed.specials)[0]


def encode_text(
    tokenizer: PreTrainedTokenizerBase, text: str, *, specials: bool
) -> TokenRow | None:
    """A running text of which all tokens but the first are scored; None if there is no second."""
    ids, _ = _tokens(tokenizer, text, specials)
    return TokenRow(ids, 1) if len(ids) > 1 else None


def _tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, specials: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids and the character each ends at, without what a template appends behind the text."""
    coded = tokenizer(text, add_special_tokens=specials, return_offsets_mapping=True)
    ids, offsets = list(coded["input_ids"]), list(coded["offset_mapping"])
    special = set(tokenizer.all_special_ids)
    while len(ids) > 1 and ids[-1] in special and tuple(offsets[-1]) == (0, 0):
        ids.pop()
        offsets.pop()
    return tuple(ids), tuple(end for _, end in offsets)


def pack(rows: Sequence[TokenRow]) -> PackedTokens:
    """The rows as one sheet."""
    lengths = torch.tensor([0, *(len(row.ids) for row in rows)])
    return PackedTokens(
        ids=torch.tensor([i for row in rows for i in row.ids], dtype=torch.long),
        offsets=lengths.cumsum(0),
        answers=torch.tensor([row.answer for row in rows], dtype=torch.long),
        finals=torch.tensor([row.final for row in rows], dtype=torch.long),
    )
