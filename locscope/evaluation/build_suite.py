"""Builds the evaluation suite: every question of a run as a token row, before anything is tuned."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

from locscope.evaluation.drift import NeutralTexts, remember
from locscope.evaluation.questions import (
    Question,
    recited_question,
    span_question,
    target_question,
)
from locscope.evaluation.suite import EditQuestions, EvalSuite, EvalTexts
from locscope.forward.decoding import (
    SPAN_TOKENS,
    Output,
    Request,
    TextGenerator,
    decode,
    replayed,
    text_of,
)
from locscope.forward.packed import NO_LABEL, TokenRow, encode, encode_prompt, encode_text, pack
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.records import Edit, Probe
from locscope.scoring.text import phrase_end


def prepare(
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    eval_texts: EvalTexts,
    prompt_format: str = "raw",
    budget: Budget | None = None,
) -> EvalSuite:
    """Builds the evaluation suite.

    The model must be untouched: locality and drift compare with its answers and states.
    """
    suite = written(text_generator, edits, eval_texts, prompt_format)
    return remembering(suite, PrefixCache(text_generator.model, suite.packed, budget))


def written(
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    eval_texts: EvalTexts,
    prompt_format: str = "raw",
) -> EvalSuite:
    """The evaluation suite without what the untouched model makes of the neutral texts."""
    writer = _Writer(text_generator, _stop_token(text_generator), prompt_format)
    # All at once, for larger batches; each edit then takes those of its own neighbours.
    outputs = iter(_continuations(writer, [probe for e in edits for probe in e.neighbours]))
    questions = tuple(_questions(writer, edit, eval_texts.prefixes, outputs) for edit in edits)
    abilities = tuple(writer.target(item.prompt, item.answer) for item in eval_texts.abilities)
    texts, bare = _neutral_rows(writer, eval_texts.neutral)
    return EvalSuite(
        text_generator=text_generator,
        packed=pack(writer.rows),
        edits=questions,
        abilities=abilities,
        ability_items=eval_texts.abilities,
        neutral=NeutralTexts(tuple(texts), tuple(bare), (), text_generator.model),
        prompt_format=prompt_format,
        unaligned=sum(not row.aligned for row in writer.rows),
    )


def remembering(suite: EvalSuite, prefix_cache: PrefixCache) -> EvalSuite:
    """The suite with what the model, untouched, makes of the neutral texts.

    It is read from the layer on at which the prefix cache is: the higher, the sooner.
    """
    neutral = remember(prefix_cache, suite.neutral.texts, suite.neutral.bare)
    return replace(suite, neutral=neutral)


@final
class _Writer:
    """Collects rows and hands out their numbers."""

    def __init__(self, text_generator: TextGenerator, stop: int, prompt_format: str) -> None:
        self.text_generator, self.stop, self.format = text_generator, stop, prompt_format
        self.rows: list[TokenRow] = []

    def add(self, row: TokenRow) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def target(self, prompt: str, answer: str) -> Question:
        question = target_question(
            self.text_generator, len(self.rows), prompt, answer, self.stop, self.format
        )
        self.add(question.row)
        return question

    def neighbour(self, probe: Probe, whole: Output) -> tuple[Question, bool]:
        """The question, and whether the untouched model went on after its answer."""
        text_generator = self.text_generator
        prompt = encode_prompt(text_generator.tokenizer, probe.prompt, self.format)
        output = replayed(text_generator, Request(prompt, SPAN_TOKENS), whole)
        agreed, stopped = _agreed(text_generator, whole, _answer_tokens(self, probe))
        question = span_question(len(self.rows), prompt, output, agreed, stopped=stopped)
        self.add(question.row)
        return question, output.ending != "stop"

    def recited(self, prompt: str, answer: str) -> Question:
        question = recited_question(
            self.text_generator, len(self.rows), prompt, answer, self.format
        )
        self.add(question.row)
        return question

    def training(self, prompt: str, answer: str) -> int:
        return self.add(
            encode(self.text_generator.tokenizer, prompt, answer, self.stop, self.format)
        )


def _stop_token(text_generator: TextGenerator) -> int:
    """The token that ends a target: the tokenizer's EOS, as in LocFT-BF's code."""
    # Not the model's own list of stop tokens, which may begin with another.
    eos = text_generator.tokenizer.eos_token_id
    return eos if isinstance(eos, int) else next(iter(text_generator.stops), NO_LABEL)


def _continuations(writer: _Writer, probes: Sequence[Probe]) -> tuple[Output, ...]:
    """The untouched model's, one for each probe: its answer and what is compared are read off it.

    As many tokens are compared as the stated answer has behind the prompt.
    """
    text_generator, form = writer.text_generator, writer.format
    requests = [
        Request(
            encode_prompt(text_generator.tokenizer, probe.prompt, form),
            max(_answer_tokens(writer, probe), SPAN_TOKENS),
            to_stop=True,
        )
        for probe in probes
    ]
    return decode(text_generator, requests)


def _answer_tokens(writer: _Writer, probe: Probe) -> int:
    """Tokens of the stated answer; 0 where none is stated."""
    if not probe.answer.strip():
        return 0
    # Without a stop token: the answer's own tokens are counted.
    row = encode(
        writer.text_generator.tokenizer, probe.prompt, probe.answer, NO_LABEL, writer.format
    )
    return len(row.ids) - row.answer


def _agreed(
    text_generator: TextGenerator, whole: Output, count: int
) -> tuple[tuple[int, ...], bool]:
    """The tokens that are compared, and whether a stop token ended them too early.

    The first `count` tokens of the answer; where that is 0, those before the first newline or
    punctuation mark behind a word, one at least. A reasoning block before them is included.
    """
    start, tokens = whole.reasoning, whole.ids[whole.reasoning :]
    span = count or SPAN_TOKENS
    stopped = whole.ending == "stop" and len(tokens) < span
    # No more: what a model that completes texts says behind an answer changes with any tuning.
    compared = tokens[:span]
    for i in range(1, len(compared) + 1 if not count else 0):
        text = text_of(text_generator, compared[:i])
        end = phrase_end(text)
        if end is not None:
            # The token that holds the mark may hold the word's last letters too.
            alone = text_of(text_generator, compared[: i - 1]).strip() == text[:end].strip()
            compared, stopped = compared[: max(1, i - alone)], False
            break
    return whole.ids[:start] + compared, stopped


def _questions(
    writer: _Writer, edit: Edit, prefixes: Sequence[str], outputs: Iterator[Output]
) -> EditQuestions:
    target = writer.target(edit.prompt, edit.target)
    training = [writer.training(f"{prefix} {edit.prompt}", edit.target) for prefix in prefixes]
    rephrases = tuple(writer.target(text, edit.target) for text in edit.rephrases)
    pairs = [writer.neighbour(probe, next(outputs)) for probe in edit.neighbours]
    stated = [probe for probe in edit.neighbours if probe.answer.strip()]
    return EditQuestions(
        edit=edit,
        training=(target.index, *training),
        target=target,
        rephrases=rephrases,
        neighbours=tuple(question for question, _ in pairs),
        stated=tuple(probe.answer for probe in edit.neighbours),
        spoke_on=tuple(went_on for _, went_on in pairs),
        recited=tuple(writer.recited(probe.prompt, probe.answer) for probe in stated),
        forms=_probes(writer, edit.forms),
        multihop=_probes(writer, edit.multihop),
    )


def _probes(writer: _Writer, probes: Sequence[Probe]) -> tuple[Question, ...]:
    return tuple(writer.target(probe.prompt, probe.answer) for probe in probes)


def _neutral_rows(writer: _Writer, texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows with and without special tokens, of the texts that have something to score in both
    ways: so a half of the texts is the same half of the bare ones."""
    tokenizer = writer.text_generator.tokenizer
    both = [
        (whole, bare)
        for text in texts
        if (whole := encode_text(tokenizer, text, specials=True))
        and (bare := encode_text(tokenizer, text, specials=False))
    ]
    rows = [writer.add(whole) for whole, _ in both]
    # One row for both where they are the same tokens.
    bare = [
        row if alone.ids == whole.ids else writer.add(alone)
        for row, (whole, alone) in zip(rows, both, strict=True)
    ]
    return rows, bare
