"""What a model cannot read, found before it is asked: tokens without an embedding, texts that are
longer than its context."""

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from locscope.errors import UsageError, shown
from locscope.evaluation.suite import EvalTexts
from locscope.forward.decoding import MAX_TOKENS
from locscope.forward.packed import encode, encode_prompt, encode_text, frame
from locscope.models.inspection import embeddings
from locscope.records import Edit

STOP = 0
"""Any label will do: rows are counted here."""
_FRAME = 64
"""Characters that a prompt format may put around a prompt, at least."""


def refuse_unreadable(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    edits: Sequence[Edit],
    prompt_format: str,
    before: int = 0,
) -> None:
    """Raises UsageError, naming edit and text, for the first that the model cannot read.

    A prompt needs room for an answer, and for `before` tokens that are put before it. The model may
    be on `meta`. Texts are tokenised only where their characters or the tokenizer give reason to.
    """
    # For its errors: a chat template that is missing or fails.
    frame(tokenizer, "a", prompt_format)
    embedded = max(tokenizer.get_vocab().values(), default=0) < embeddings(model)
    room = _context(model) - before
    for edit in edits:
        for what, prompt, answer in _texts(edit):
            if embedded and 2 * len((prompt + answer).encode(errors="replace")) + _FRAME < room:
                continue
            ids, needed = _row(tokenizer, prompt, answer, prompt_format)
            named = f"edit {shown(edit.id)}: its {what} {shown(prompt)}"
            _refuse(model, tokenizer, named, ids, needed + before)


def refuse_unreadable_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: EvalTexts,
    prompt_format: str,
) -> None:
    """Raises UsageError for the first neutral text or ability that the model cannot read."""
    for text in texts.neutral:
        row = encode_text(tokenizer, text, specials=True)
        if row:
            _refuse(model, tokenizer, f"the neutral text {shown(text)}", row.ids, len(row.ids))
    for item in texts.abilities:
        ids, needed = _row(tokenizer, item.prompt, item.answer, prompt_format)
        _refuse(model, tokenizer, f"the ability {shown(item.prompt)}", ids, needed)


def _texts(edit: Edit) -> Iterator[tuple[str, str, str]]:
    """What each text is, prompt and answer, of all that an edit has."""
    yield "prompt", edit.prompt, edit.target
    for text in edit.rephrases:
        yield "rephrase", text, edit.target
    for what, probes in (
        ("neighbour", edit.neighbours),
        ("form", edit.forms),
        ("multi-hop question", edit.multihop),
    ):
        for probe in probes:
            yield what, probe.prompt, probe.answer


def _row(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, prompt_format: str
) -> tuple[tuple[int, ...], int]:
    """The ids of prompt and answer, and how many tokens they and what is decoded may take."""
    if not answer.strip():
        ids = encode_prompt(tokenizer, prompt, prompt_format)
        return ids, len(ids) + MAX_TOKENS
    row = encode(tokenizer, prompt, answer, STOP, prompt_format)
    return row.ids, max(len(row.ids), row.answer + MAX_TOKENS)


def _refuse(
    model: PreTrainedModel, tokenizer: Any, named: str, ids: Sequence[int], needed: int
) -> None:
    rows, context = embeddings(model), _context(model)
    # First of all: such a token ends a pass on a GPU with an assertion that names nothing.
    unknown = next((token for token in ids if token >= rows), None)
    if unknown is not None:
        raise UsageError(
            f"{named} has the token {shown(tokenizer.convert_ids_to_tokens(unknown))} ({unknown}), "
            f"and the model has embeddings for 0 to {rows - 1} (config.json: vocab_size): resize "
            "its embeddings, or take the tokenizer that it was trained with"
        )
    if needed > context:
        raise UsageError(
            f"{named} takes {needed} tokens with its answer, and the model reads {context} "
            "(config.json: max_position_embeddings): shorten it or leave it out"
        )


def _context(model: PreTrainedModel) -> int:
    """How many tokens the model reads at once, as its configuration says."""
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return stated if isinstance(stated, int) else 2**30
