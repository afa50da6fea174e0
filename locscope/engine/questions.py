"""Questions to a model and its answers: one pass where it decides, decoding where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from locscope.engine.decode import ENDS_TEXT, MAX_TOKENS, Ending, Output, Request, Speaker, decode
from locscope.engine.reading import Reading, read
from locscope.engine.texts import NO_LABEL, Row, encode, encode_prompt
from locscope.engine.trunk import Trunk
from locscope.scoring.text import cannot_match

SPAN_TOKENS = 10
"""An untouched answer span is cut at ten tokens (design, 'locality')."""


@dataclass(frozen=True)
class Question:
    """A row of a sheet with the answer it holds.

    `wanted` is that answer's text. A `closed` answer needs no terminator behind it: it ends within
    its last token, or at the length limit. `limit` is in tokens. A `dotted` answer holds a full
    stop or newline itself, so only a stop token ends its decoding. A `targeted` one only has to
    match; else its text is compared as it is, to the end.
    """

    index: int
    row: Row
    prompt: tuple[int, ...]
    wanted: str
    closed: bool
    limit: int = MAX_TOKENS
    dotted: bool = False
    targeted: bool = True

    @property
    def ids(self) -> tuple[int, ...]:
        """The answer's tokens."""
        return self.row.ids[self.row.answer :]


@dataclass(frozen=True)
class Answer:
    """What a model says to a question under greedy decoding.

    `text` is cut at the first newline or full stop, unless the answer itself is dotted. `strict`:
    exactly the answer's tokens, then a stop token. `token_accuracy` and `logprob` are
    teacher-forced (mean over tokens; nats).
    """

    text: str
    strict: bool
    ending: Ending
    decoded: bool
    token_accuracy: float
    logprob: float


def target_question(
    speaker: Speaker, index: int, prompt: str, target: str, stop: int, prompt_format: str
) -> Question:
    """Is the prompt answered with the target, and does the model stop then?"""
    row = encode(speaker.tokenizer, prompt, target, stop, prompt_format)
    start = encode_prompt(speaker.tokenizer, prompt, prompt_format)
    wanted = target.strip()
    dotted = bool(ENDS_TEXT & set(wanted))
    # A longer answer than the scorer's limit gets room for itself and its stop token.
    limit = max(MAX_TOKENS, len(row.ids) - row.answer + 1)
    return Question(index, row, start, wanted, closed=False, limit=limit, dotted=dotted)


def span_question(index: int, prompt: tuple[int, ...], output: Output) -> Question:
    """Is the prompt still answered as the untouched model answered it?"""
    row = Row(prompt + output.ids[: output.span], len(prompt), NO_LABEL)
    closed = output.ending == "length" or (
        output.ending == "text" and output.span == len(output.ids)
    )
    return Question(index, row, prompt, output.text, closed, SPAN_TOKENS, targeted=False)


def ask(speaker: Speaker, trunk: Trunk, questions: Sequence[Question]) -> tuple[Answer, ...]:
    """The answers of the model as it is now, the trunk's part of it taken as unchanged."""
    if not questions:
        return ()
    reading = read(trunk, [question.index for question in questions])
    endings: list[Ending | None] = [
        _ending(speaker, question, reading, i) for i, question in enumerate(questions)
    ]
    open_ones = [i for i, ending in enumerate(endings) if ending is None]
    requests = [_request(questions[i]) for i in open_ones]
    decoded = decode(speaker, requests, trunk.tokens_at_once)
    outputs = dict(zip(open_ones, decoded, strict=True))
    return tuple(
        _answer(question, endings[i], outputs.get(i), reading, i)
        for i, question in enumerate(questions)
    )


def read_answers(trunk: Trunk, questions: Sequence[Question]) -> tuple[Answer, ...]:
    """What one pass tells of the answers without decoding: probabilities; no text, no ending."""
    if not questions:
        return ()
    reading = read(trunk, [question.index for question in questions])
    return tuple(_glimpsed(reading, i) for i in range(len(questions)))


def _glimpsed(reading: Reading, i: int) -> Answer:
    accuracy, logprob = float(reading.token_accuracy[i]), float(reading.logprob[i])
    return Answer("", False, "not decoded", False, accuracy, logprob)


def _ending(speaker: Speaker, question: Question, reading: Reading, i: int) -> Ending | None:
    """How the row certainly ends after exactly the wanted answer; None where decoding must tell."""
    if not (reading.said[i] and reading.sure[i] and question.row.aligned):
        return None
    if question.closed:
        return "length" if len(question.ids) == question.limit else "text"
    after = int(reading.after[i])
    if after in speaker.stops:
        return "stop"
    if question.dotted:  # no newline or full stop ends it
        return None
    piece = str(speaker.tokenizer.decode([after])).strip(" ")
    return "text" if ENDS_TEXT & set(piece[:1]) else None


def _request(question: Question) -> Request:
    """A target is judged by match alone, so its decoding ends once none is possible."""
    hopeless = partial(cannot_match, target=question.wanted) if question.targeted else None
    return Request(question.prompt, question.limit, question.dotted, hopeless)


def _answer(
    question: Question, ending: Ending | None, output: Output | None, reading: Reading, i: int
) -> Answer:
    accuracy, logprob = float(reading.token_accuracy[i]), float(reading.logprob[i])
    if output is None:
        assert ending is not None
        return Answer(question.wanted, ending == "stop", ending, False, accuracy, logprob)
    strict = output.ending == "stop" and output.ids == question.ids
    # Given up as it cannot match any more: what is shown of it ends in an ellipsis.
    text = f"{output.text}…" if output.ending == "given up" else output.text
    return Answer(text, strict, output.ending, True, accuracy, logprob)
