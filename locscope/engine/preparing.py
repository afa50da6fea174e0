"""Writing the exam: every question of a run as a row of one sheet, before anything is tuned."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import final

from locscope.engine.decode import Output, Request, Speaker, decode
from locscope.engine.exam import EditQuestions, Exam, Material
from locscope.engine.neutral import NeutralRows, remember
from locscope.engine.questions import SPAN_TOKENS, Question, span_question, target_question
from locscope.engine.texts import NO_LABEL, Row, encode, encode_prompt, encode_text, pack
from locscope.engine.trunk import Budget, Trunk
from locscope.records import Edit, Probe


def prepare(
    speaker: Speaker,
    edits: Sequence[Edit],
    material: Material,
    prompt_format: str = "raw",
    budget: Budget | None = None,
) -> Exam:
    """Writes the exam. The model must be untouched: its answers to neighbours are taken from it."""
    writer = _Writer(speaker, _stop_token(speaker), prompt_format)
    prompts = [
        encode_prompt(speaker.tokenizer, probe.prompt, prompt_format)
        for edit in edits
        for probe in edit.neighbours
    ]
    spoken = decode(speaker, [Request(prompt, SPAN_TOKENS) for prompt in prompts])
    outputs = iter(zip(prompts, spoken, strict=True))
    questions = tuple(_questions(writer, edit, material.prefixes, outputs) for edit in edits)
    abilities = tuple(writer.target(item.prompt, item.answer) for item in material.abilities)
    neutral = _neutral_rows(writer, material.neutral)
    sheet = pack(writer.rows)
    return Exam(
        speaker=speaker,
        sheet=sheet,
        edits=questions,
        abilities=abilities,
        ability_items=material.abilities,
        neutral=neutral,
        untouched=remember(Trunk(speaker.model, sheet, budget), neutral.texts),
        prompt_format=prompt_format,
        unaligned=sum(not row.aligned for row in writer.rows),
    )


@final
class _Writer:
    """Collects rows and hands out their numbers."""

    def __init__(self, speaker: Speaker, stop: int, prompt_format: str) -> None:
        self.speaker, self.stop, self.format = speaker, stop, prompt_format
        self.rows: list[Row] = []

    def add(self, row: Row) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def target(self, prompt: str, answer: str) -> Question:
        question = target_question(
            self.speaker, len(self.rows), prompt, answer, self.stop, self.format
        )
        self.add(question.row)
        return question

    def span(self, prompt: tuple[int, ...], output: Output) -> Question:
        question = span_question(len(self.rows), prompt, output)
        self.add(question.row)
        return question

    def training(self, prompt: str, answer: str) -> int:
        return self.add(encode(self.speaker.tokenizer, prompt, answer, self.stop, self.format))


def _stop_token(speaker: Speaker) -> int:
    """The token that ends a target: the tokenizer's EOS, as in LocFT-BF's code."""
    eos = speaker.tokenizer.eos_token_id
    return eos if isinstance(eos, int) else next(iter(speaker.stops), NO_LABEL)


def _questions(
    writer: _Writer,
    edit: Edit,
    prefixes: Sequence[str],
    outputs: Iterator[tuple[tuple[int, ...], Output]],
) -> EditQuestions:
    target = writer.target(edit.prompt, edit.target)
    pairs = islice(outputs, len(edit.neighbours))
    spans = [(writer.span(prompt, output), output) for prompt, output in pairs]
    return EditQuestions(
        edit=edit,
        training=(
            target.index,
            *(writer.training(f"{prefix} {edit.prompt}", edit.target) for prefix in prefixes),
        ),
        target=target,
        rephrases=tuple(writer.target(text, edit.target) for text in edit.rephrases),
        neighbours=tuple(question for question, _ in spans),
        stated=tuple(probe.answer for probe in edit.neighbours),
        spoke_on=tuple(output.ending != "stop" for _, output in spans),
        forms=_probes(writer, edit.forms),
        multihop=_probes(writer, edit.multihop),
    )


def _probes(writer: _Writer, probes: Sequence[Probe]) -> tuple[Question, ...]:
    return tuple(writer.target(probe.prompt, probe.answer) for probe in probes)


def _neutral_rows(writer: _Writer, texts: Sequence[str]) -> NeutralRows:
    """The texts that have something to score in both ways, so that a half of the texts is the same
    half of the bare ones."""
    tokenizer = writer.speaker.tokenizer
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
