"""Writing the evaluation suite: every question of a run as a row of one sheet, before anything is
tuned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import final

from locscope.evaluation.drift import NeutralRows, remember
from locscope.evaluation.questions import (
    Agreement,
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
    """Writes the evaluation suite. The model must be untouched: its answers to neighbours are taken
    from it."""
    writer = _Writer(text_generator, _stop_token(text_generator), prompt_format)
    neighbours = iter(_neighbours(writer, [probe for edit in edits for probe in edit.neighbours]))
    questions = tuple(_questions(writer, edit, eval_texts.prefixes, neighbours) for edit in edits)
    abilities = tuple(writer.target(item.prompt, item.answer) for item in eval_texts.abilities)
    neutral = _neutral_rows(writer, eval_texts.neutral)
    packed = pack(writer.rows)
    return EvalSuite(
        text_generator=text_generator,
        packed=packed,
        edits=questions,
        abilities=abilities,
        ability_items=eval_texts.abilities,
        neutral=neutral,
        untouched=remember(PrefixCache(text_generator.model, packed, budget), neutral.texts),
        prompt_format=prompt_format,
        unaligned=sum(not row.aligned for row in writer.rows),
    )


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

    def span(self, one: "_Neighbour") -> Question:
        question = span_question(len(self.rows), one.prompt, one.output, one.agreement)
        self.add(question.row)
        return question

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
    eos = text_generator.tokenizer.eos_token_id
    return eos if isinstance(eos, int) else next(iter(text_generator.stops), NO_LABEL)


@dataclass(frozen=True)
class _Neighbour:
    """A neighbour's prompt with the untouched model's answer to it, and what locality compares."""

    prompt: tuple[int, ...]
    output: Output
    agreement: Agreement


def _neighbours(writer: _Writer, probes: Sequence[Probe]) -> list[_Neighbour]:
    """Asks the untouched model once: one continuation holds both its answer and what is compared.

    Compared are as many tokens as the stated answer has behind the prompt.
    """
    text_generator, form = writer.text_generator, writer.format
    prompts = [encode_prompt(text_generator.tokenizer, probe.prompt, form) for probe in probes]
    counts = [_answer_tokens(writer, probe) for probe in probes]
    wholes = [
        Request(prompt, max(count, SPAN_TOKENS), to_stop=True)
        for prompt, count in zip(prompts, counts, strict=True)
    ]
    said = decode(text_generator, wholes)
    return [
        _Neighbour(
            prompt=prompt,
            output=replayed(text_generator, Request(prompt, SPAN_TOKENS), one),
            agreement=_agreement(text_generator, one, count),
        )
        for prompt, count, one in zip(prompts, counts, said, strict=True)
    ]


def _answer_tokens(writer: _Writer, probe: Probe) -> int:
    """Tokens of the stated answer; 0 where none is stated."""
    if not probe.answer.strip():
        return 0
    row = encode(
        writer.text_generator.tokenizer, probe.prompt, probe.answer, NO_LABEL, writer.format
    )
    return len(row.ids) - row.answer


def _agreement(text_generator: TextGenerator, said: Output, count: int) -> Agreement:
    """The first `count` tokens of the answer; where that is 0, those before the first newline or
    punctuation mark behind a word, one at least."""
    start, tokens = said.reasoning, said.ids[said.reasoning :]
    span = count or SPAN_TOKENS
    stopped = said.ending == "stop" and len(tokens) < span
    kept = tokens[:span]
    for i in range(1, len(kept) + 1 if not count else 0):
        text = text_of(text_generator, kept[:i])
        end = phrase_end(text)
        if end is not None:
            # The token that holds the mark may hold the word's last letters too.
            alone = text_of(text_generator, kept[: i - 1]).strip() == text[:end].strip()
            kept, stopped = kept[: max(1, i - alone)], False
            break
    return Agreement(said.ids[:start] + kept, stopped, start)


def _questions(
    writer: _Writer,
    edit: Edit,
    prefixes: Sequence[str],
    neighbours: Iterator[_Neighbour],
) -> EditQuestions:
    target = writer.target(edit.prompt, edit.target)
    around = list(islice(neighbours, len(edit.neighbours)))
    stated = [probe for probe in edit.neighbours if probe.answer.strip()]
    return EditQuestions(
        edit=edit,
        training=(
            target.index,
            *(writer.training(f"{prefix} {edit.prompt}", edit.target) for prefix in prefixes),
        ),
        target=target,
        rephrases=tuple(writer.target(text, edit.target) for text in edit.rephrases),
        neighbours=tuple(map(writer.span, around)),
        stated=tuple(probe.answer for probe in edit.neighbours),
        spoke_on=tuple(one.output.ending != "stop" for one in around),
        recited=tuple(writer.recited(probe.prompt, probe.answer) for probe in stated),
        forms=_probes(writer, edit.forms),
        multihop=_probes(writer, edit.multihop),
    )


def _probes(writer: _Writer, probes: Sequence[Probe]) -> tuple[Question, ...]:
    return tuple(writer.target(probe.prompt, probe.answer) for probe in probes)


def _neutral_rows(writer: _Writer, texts: Sequence[str]) -> NeutralRows:
    """The texts that have something to score in both ways, so that a half of the texts is the same
    half of the bare ones."""
    tokenizer = writer.text_generator.tokenizer
    both = [
        (whole, bare)
        for text in texts
        if (whole := encode_text(tokenizer, text, specials=True))
        and (bare := encode_text(tokenizer, text, specials=False))
    ]
    return NeutralRows(
        texts=tuple(writer.add(whole) for whole, _ in both),
        bare=tuple(writer.add(bare) for _, bare in both),
    )
