"""Questions to a model and its answers: by one pass where that is enough, else by decoding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan

from locscope.evaluation.exact_match import Reading, read
from locscope.forward.decoding import (
    MAX_TOKENS,
    SPAN_TOKENS,
    Ending,
    Output,
    Request,
    TextGenerator,
    decode,
    text_of,
)
from locscope.forward.packed import NO_LABEL, TokenRow, encode, encode_prompt
from locscope.forward.prefix_cache import PrefixCache
from locscope.scoring.text import cannot_match, cut_answer, ended, holds_stop


@dataclass(frozen=True)
class Question:
    """A row of the evaluation suite, with the answer in it.

    `wanted` is that answer's text, in the first `span` tokens where they are not all. A `closed`
    answer needs no terminator behind it: it ends within its last token, or at the length limit.
    `limit` is in tokens. A `dotted` answer holds a full stop or newline itself, so only a stop
    token ends its decoding. A `targeted` one only has to match; else its text is compared as it is,
    to the end. A `recited` row is only read, teacher-forced.

    A neighbour has the answer tokens that locality compares, as a range: `compared`. Those before
    it are a reasoning block. With `stopped` a stop token came before the span was full, and has to
    come again.
    """

    index: int
    row: TokenRow
    prompt: tuple[int, ...]
    wanted: str
    closed: bool
    limit: int = MAX_TOKENS
    dotted: bool = False
    targeted: bool = True
    span: int | None = None
    compared: range | None = None
    stopped: bool = False
    recited: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        """The answer's tokens."""
        return self.row.ids[self.row.answer :][: self.span]

    @property
    def agreed(self) -> tuple[int, ...]:
        """The tokens up to the last one that locality compares; none for other questions."""
        stop = 0 if self.compared is None else self.compared.stop
        return self.row.ids[self.row.answer :][:stop]


@dataclass(frozen=True)
class Answer:
    """What a model says to a question under greedy decoding.

    `text` is cut at the first newline or full stop beyond those of the answer itself. `strict`:
    exactly the answer's tokens, then a stop token. `token_accuracy` and `logprob` are
    teacher-forced (mean over tokens; nats), of a neighbour over the compared tokens. `kept`: a
    neighbour's compared tokens are the same. `argmaxes` are those at a recited answer's tokens.
    """

    text: str
    strict: bool
    ending: Ending
    decoded: bool
    token_accuracy: float
    logprob: float
    kept: bool = False
    argmaxes: tuple[int, ...] = ()


def target_question(
    text_generator: TextGenerator,
    index: int,
    prompt: str,
    target: str,
    stop: int,
    prompt_format: str,
) -> Question:
    """Is the prompt answered with the target, and does the model stop then?"""
    row = encode(text_generator.tokenizer, prompt, target, stop, prompt_format)
    start = encode_prompt(text_generator.tokenizer, prompt, prompt_format)
    wanted = target.strip()
    # A longer answer than the scorer's limit gets room for itself and its stop token.
    limit = max(MAX_TOKENS, len(row.ids) - row.answer + 1)
    dotted = holds_stop(wanted)
    return Question(index, row, start, wanted, closed=False, limit=limit, dotted=dotted)


def span_question(
    index: int,
    prompt: tuple[int, ...],
    output: Output,
    agreed: tuple[int, ...] | None = None,
    *,
    stopped: bool = False,
) -> Question:
    """Is the prompt still answered as the untouched model answered it?

    `output` is that model's answer. `agreed` are its tokens as far as locality compares them, which
    may be fewer or more than those of the answer; without them, they are the answer's.
    """
    answer = output.ids[: output.span]
    agreed, start = (answer, 0) if agreed is None else (agreed, output.reasoning)
    # Both begin the same continuation, so the longer one holds the other.
    ids = max(answer, agreed, key=len)
    row = TokenRow(prompt + ids, len(prompt), NO_LABEL)
    # Cut by the limit, or its last token holds the full stop too.
    closed = output.ending == "length" or (
        output.ending == "text" and output.span == len(output.ids)
    )
    return Question(
        index,
        row,
        prompt,
        output.text,
        closed,
        SPAN_TOKENS,
        targeted=False,
        span=output.span,
        compared=range(start, len(agreed)),
        stopped=stopped,
    )


def recited_question(
    text_generator: TextGenerator, index: int, prompt: str, answer: str, prompt_format: str
) -> Question:
    """What are the arg-max tokens along this answer, given what of it comes before each?"""
    row = encode(text_generator.tokenizer, prompt, answer, NO_LABEL, prompt_format)
    return Question(index, row, row.ids[: row.answer], answer.strip(), closed=False, recited=True)


def ask(
    text_generator: TextGenerator, prefix_cache: PrefixCache, questions: Sequence[Question]
) -> tuple[Answer, ...]:
    """The answers of the model as it is now; the prefix cache's layers must be unchanged."""
    readings = read(prefix_cache, [question.index for question in questions])
    pairs = list(zip(questions, readings, strict=True))
    endings: list[Ending | None] = [_ending(text_generator, *pair) for pair in pairs]
    kept = [_kept(text_generator, *pair) for pair in pairs]
    unread = [i for i, q in enumerate(questions) if endings[i] is None and not q.recited]
    unsure = [i for i in range(len(questions)) if kept[i] is None]
    requests = [_request(*pairs[i]) for i in unread] + [_again(*pairs[i]) for i in unsure]
    # A question may be decoded twice: the answer ends at a full stop, the compared tokens do not.
    outputs = decode(text_generator, requests, prefix_cache.tokens_at_once)
    decoded = dict(zip(unread, outputs, strict=False))
    for i, output in zip(unsure, outputs[len(unread) :], strict=True):
        kept[i] = _agrees(questions[i], output)
    again = set(unsure)
    answers = [_answer(*pair, endings[i], decoded.get(i)) for i, pair in enumerate(pairs)]
    return tuple(
        replace(answer, kept=bool(kept[i]), decoded=answer.decoded or i in again)
        for i, answer in enumerate(answers)
    )


def read_answers(prefix_cache: PrefixCache, questions: Sequence[Question]) -> tuple[Answer, ...]:
    """What one pass tells of the answers without decoding: probabilities; no text, no ending."""
    readings = read(prefix_cache, [question.index for question in questions])
    return tuple(map(_read_answer, questions, readings))


def _read_answer(question: Question, reading: Reading) -> Answer:
    logprob, argmaxes = reading.logprob, ()
    if question.compared is not None:
        compared = reading.logprobs[question.compared.start : question.compared.stop]
        # Nothing is compared where the untouched model stopped at once.
        logprob = sum(compared) / len(compared) if compared else nan
    if question.recited:
        # The last one is behind the answer.
        argmaxes = reading.best[:-1]
    accuracy = reading.token_accuracy
    return Answer("", False, "not decoded", False, accuracy, logprob, argmaxes=argmaxes)


def _ending(text_generator: TextGenerator, question: Question, reading: Reading) -> Ending | None:
    """How the row certainly ends after exactly the wanted answer; None where decoding must tell."""
    ids, count = question.ids, len(question.ids)
    sure = not any(reading.close[: count + 1]) and question.row.aligned
    if not sure or reading.best[:count] != ids or question.recited:
        return None
    if question.closed:
        return "length" if count == question.limit else "text"
    after = reading.best[count]
    if after in text_generator.stops:
        return "stop"
    own = question.wanted if question.dotted else ""
    text = text_of(text_generator, (*ids, after))
    whole = ended(text, own) and cut_answer(text, own) == cut_answer(question.wanted, own)
    return "text" if whole else None


def _kept(text_generator: TextGenerator, question: Question, reading: Reading) -> bool | None:
    """Whether a neighbour's compared tokens are the same; None where one pass does not tell.

    A token that differs is decided where everything before it is certain, so that what broke need
    not be decoded either.
    """
    if question.compared is None:
        return False
    ids = question.agreed
    for i, token in enumerate(ids):
        # Another reasoning block may still lead to the same answer.
        reasons = i < question.compared.start
        if reading.close[i] or (reading.best[i] != token and reasons):
            return None
        if reading.best[i] != token:
            return False
    if not question.stopped:
        return True
    after = len(ids)
    return None if reading.close[after] else reading.best[after] in text_generator.stops


def _again(question: Question, reading: Reading) -> Request:
    """Decodes what locality compares."""
    assert question.compared is not None
    limit = len(question.compared) + question.stopped
    return Request(question.prompt, limit, to_stop=True, known=_known(question, reading))


def _known(question: Question, reading: Reading) -> tuple[int, ...]:
    """The tokens with which decoding certainly begins: those of the row as long as they are the
    arg-max, and the first that is another."""
    if not question.row.aligned:
        return ()
    known: list[int] = []
    own = (*question.row.ids[question.row.answer :], None)
    for best, close, token in zip(reading.best, reading.close, own, strict=True):
        if close:
            break
        known.append(best)
        if best != token:
            break
    return tuple(known)


def _agrees(question: Question, output: Output) -> bool:
    assert question.compared is not None
    same = output.ids[output.reasoning :] == question.agreed[question.compared.start :]
    return same and (output.ending == "stop" or not question.stopped)


def _request(question: Question, reading: Reading) -> Request:
    """A target is judged by match alone, so its decoding ends once none is possible."""
    hopeless = partial(cannot_match, target=question.wanted) if question.targeted else None
    known = _known(question, reading)
    return Request(question.prompt, question.limit, question.dotted, hopeless, known)


def _answer(
    question: Question, reading: Reading, ending: Ending | None, output: Output | None
) -> Answer:
    read_only = _read_answer(question, reading)
    if output is None:
        if ending is None:
            return read_only
        return replace(read_only, text=question.wanted, strict=ending == "stop", ending=ending)
    strict = output.ending == "stop" and output.ids == question.ids
    text = cut_answer(output.text, question.wanted) if question.dotted else output.text
    # Given up as it cannot match any more: what is shown of it ends in an ellipsis.
    text = f"{text}…" if output.ending == "given up" else text
    return replace(read_only, text=text, strict=strict, ending=output.ending, decoded=True)
