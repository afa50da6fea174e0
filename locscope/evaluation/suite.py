"""Everything a trial is asked, prepared once: one sheet of rows that all trials of a run share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from locscope.evaluation.drift import Drift, NeutralRows, Texts, Untouched, drift
from locscope.evaluation.questions import (
    Answer,
    Question,
    ask,
    read_answers,
)
from locscope.forward.decoding import TextGenerator
from locscope.forward.packed import PackedTokens
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Edit

QUICK_TEXTS = 24
"""Neutral texts that a quick evaluation reads: enough to see a collapse."""
FEW_TEXTS = 8
"""Neutral texts below which choosing and reporting share them."""


@dataclass(frozen=True)
class Ability:
    """A small task with one right answer; `chance` is how often guessing finds it."""

    task: str
    prompt: str
    answer: str
    chance: float = 0.0


@dataclass(frozen=True)
class EvalTexts:
    """What is asked besides the edits. `prefixes` go before training prompts where wanted."""

    neutral: tuple[str, ...]
    abilities: tuple[Ability, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EditQuestions:
    """The questions about one edit; `training` are the rows that are tuned.

    `stated` has a text for every neighbour, `recited` a question for those of them that have one.
    """

    edit: Edit
    training: tuple[int, ...]
    target: Question
    rephrases: tuple[Question, ...]
    neighbours: tuple[Question, ...]
    stated: tuple[str, ...]
    spoke_on: tuple[bool, ...]
    forms: tuple[Question, ...]
    multihop: tuple[Question, ...]
    recited: tuple[Question, ...] = ()

    @property
    def hurried(self) -> "EditQuestions":
        """Those that are asked of every trial."""
        return replace(self, forms=(), multihop=(), recited=())


@dataclass(frozen=True)
class EditAnswers:
    """The answers to the questions about one edit, in their order."""

    target: Answer
    rephrases: tuple[Answer, ...]
    neighbours: tuple[Answer, ...]
    forms: tuple[Answer, ...]
    multihop: tuple[Answer, ...]
    recited: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class EvalSuite:
    """The questions of a run, the neutral texts and what the untouched model thinks of them."""

    text_generator: TextGenerator
    packed: PackedTokens
    edits: tuple[EditQuestions, ...]
    abilities: tuple[Question, ...]
    ability_items: tuple[Ability, ...]
    neutral: NeutralRows
    untouched: Untouched
    prompt_format: str
    unaligned: int

    def texts_for(self, *, choosing: bool) -> Texts:
        """The neutral texts on which drift is read while something is chosen, or those on which it
        is reported: two halves, so that a bound kept by choice is held against other texts. All of
        them where they are too few to halve."""
        if len(self.neutral.texts) < FEW_TEXTS:
            return "all"
        return "choose" if choosing else "report"

    def of(self, edits: Sequence[str]) -> tuple[EditQuestions, ...]:
        """The questions about the edits of these ids, in the evaluation suite's order."""
        wanted = set(edits)
        return tuple(questions for questions in self.edits if questions.edit.id in wanted)


@dataclass(frozen=True)
class Evaluation:
    """What the model, as it is, said to the evaluation suite or to the part of it about some edits.

    Of a `quick` only the answers' probabilities are meant, and the drift is that of some texts.
    `texts` says of which neutral texts the drift is: of all, or of one half of them.
    """

    questions: tuple[EditQuestions, ...]
    edits: tuple[EditAnswers, ...]
    ability_items: tuple[Ability, ...]
    abilities: tuple[Answer, ...]
    right_abilities: tuple[str, ...]
    drift: Drift
    prompt_format: str
    quick: bool = False
    texts: Texts = "all"

    def on(self, texts: Texts) -> "Evaluation":
        """The same with the drift of some of the texts, to compare such an observation with."""
        if self.texts == texts:
            return self
        if self.texts != "all" or self.quick:
            raise ValueError(f"drift on texts '{texts}' cannot be had from '{self.texts}'")
        return replace(self, drift=self.drift.half(texts), texts=texts)

    def of(self, edits: Sequence[str]) -> "Evaluation":
        """The part of it about the edits of these ids."""
        wanted = set(edits)
        keep = [i for i, one in enumerate(self.questions) if one.edit.id in wanted]
        return replace(
            self,
            questions=tuple(self.questions[i] for i in keep),
            edits=tuple(self.edits[i] for i in keep),
        )

    @property
    def at_a_quick(self) -> "Evaluation":
        """The part of it that a quick evaluation sees, to compare one with."""
        return replace(
            self,
            questions=tuple(one.hurried for one in self.questions),
            edits=tuple(replace(one, forms=(), multihop=(), recited=()) for one in self.edits),
            ability_items=(),
            abilities=(),
            right_abilities=(),
            drift=self.drift.first(QUICK_TEXTS),
            quick=True,
        )

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers, those about edits first."""
        return (*(a for one in self.edits for a in _answers_of(one)), *self.abilities)


def observe(
    suite: EvalSuite,
    prefix_cache: PrefixCache,
    edits: Sequence[str],
    *,
    thorough: bool = True,
    texts: Texts = "all",
) -> Evaluation:
    """Asks the model, as it is now, about the given edits, the abilities and the neutral texts.

    Only a thorough observation asks other forms and multi-hop questions, reads the neighbours'
    stated answers, and the neutral texts a second time without special tokens.
    """
    questions, neutral = suite.of(edits), suite.neutral.half(texts)
    if not thorough:
        questions = tuple(one.hurried for one in questions)
        neutral = replace(neutral, bare=())
    asked = [question for one in questions for question in _all_of(one)]
    answers = ask(suite.text_generator, prefix_cache, [*asked, *suite.abilities])
    replies = iter(answers)
    per_edit = tuple(_sort_answers(one, replies) for one in questions)
    return Evaluation(
        questions=questions,
        edits=per_edit,
        ability_items=suite.ability_items,
        abilities=tuple(replies),
        right_abilities=tuple(question.wanted for question in suite.abilities),
        drift=drift(prefix_cache, neutral, suite.untouched.half(texts)),
        prompt_format=suite.prompt_format,
        texts=texts,
    )


def quick_eval(
    suite: EvalSuite, prefix_cache: PrefixCache, edits: Sequence[str], *, texts: Texts = "all"
) -> Evaluation:
    """A quick evaluation at the given edits: one pass without any decoding, and some of the neutral
    texts."""
    questions = tuple(one.hurried for one in suite.of(edits))
    asked = [question for one in questions for question in _all_of(one)]
    replies = iter(read_answers(prefix_cache, asked))
    return Evaluation(
        questions=questions,
        edits=tuple(_sort_answers(one, replies) for one in questions),
        ability_items=(),
        abilities=(),
        right_abilities=(),
        drift=quick_drift(suite, prefix_cache, texts=texts),
        prompt_format=suite.prompt_format,
        quick=True,
        texts=texts,
    )


def quick_drift(suite: EvalSuite, prefix_cache: PrefixCache, *, texts: Texts = "all") -> Drift:
    """How far the model, as it is now, has moved on a few of the neutral texts."""
    rows = suite.neutral.half(texts).first(QUICK_TEXTS)
    return drift(prefix_cache, rows, suite.untouched.half(texts).first(QUICK_TEXTS))


def _all_of(one: EditQuestions) -> tuple[Question, ...]:
    return (
        *(one.target, *one.rephrases, *one.neighbours),
        *(*one.forms, *one.multihop, *one.recited),
    )


def _sort_answers(one: EditQuestions, replies: Iterator[Answer]) -> EditAnswers:
    def some(questions: Sequence[Question]) -> tuple[Answer, ...]:
        return tuple(next(replies) for _ in questions)

    return EditAnswers(
        target=next(replies),
        rephrases=some(one.rephrases),
        neighbours=some(one.neighbours),
        forms=some(one.forms),
        multihop=some(one.multihop),
        recited=some(one.recited),
    )


def _answers_of(one: EditAnswers) -> tuple[Answer, ...]:
    return (one.target, *one.rephrases, *one.neighbours, *one.forms, *one.multihop)
