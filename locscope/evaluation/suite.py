"""Everything that trials are asked, prepared once, and their evaluations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from locscope.evaluation.drift import Drift, NeutralTexts, Texts, drift
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
    """Texts for what is asked besides the edits; `prefixes` go before copies of edits' prompts."""

    neutral: tuple[str, ...]
    abilities: tuple[Ability, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EditQuestions:
    """The questions about one edit; `training` are the rows that are tuned.

    `stated` has a text for every neighbour (empty where none is stated), `recited` a question for
    each that is not empty. `spoke_on` says at which neighbours the untouched model went on after
    its answer.
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
    def common(self) -> "EditQuestions":
        """Those that every trial is asked, thorough or not."""
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
    """The questions of a run and the neutral texts: all rows that its trials share."""

    text_generator: TextGenerator
    packed: PackedTokens
    edits: tuple[EditQuestions, ...]
    abilities: tuple[Question, ...]
    ability_items: tuple[Ability, ...]
    neutral: NeutralTexts
    prompt_format: str
    unaligned: int

    def texts_for(self, *, choosing: bool) -> Texts:
        """The half of the neutral texts on which drift is measured to choose, or to report.

        So a bound that was kept by choice is checked on other texts. All of them where they are too
        few to halve.
        """
        if len(self.neutral.texts) < FEW_TEXTS:
            return "all"
        return "choose" if choosing else "report"

    def of(self, edits: Sequence[str]) -> tuple[EditQuestions, ...]:
        """The questions about the edits of these ids, in the order of the evaluation suite."""
        wanted = set(edits)
        return tuple(questions for questions in self.edits if questions.edit.id in wanted)


@dataclass(frozen=True)
class Evaluation:
    """What a model answered to the questions about some edits, and its drift.

    A `quick` one holds probabilities of the answers alone, and the drift on a few texts. `texts`
    says on which neutral texts drift was measured: on all, or on one half of them.
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
        """The same with the drift on one half of the texts, to compare with an evaluation on it.

        Raises ValueError where the other half was read, or a few texts only.
        """
        if self.texts == texts:
            return self
        if self.texts != "all" or self.quick:
            raise ValueError(f"drift on texts '{texts}' cannot be had from '{self.texts}'")
        return replace(self, drift=self.drift.half(texts), texts=texts)

    def of(self, edits: Sequence[str]) -> "Evaluation":
        """The part about the edits of these ids."""
        wanted = set(edits)
        keep = [i for i, questions in enumerate(self.questions) if questions.edit.id in wanted]
        return replace(
            self,
            questions=tuple(self.questions[i] for i in keep),
            edits=tuple(self.edits[i] for i in keep),
        )

    @property
    def as_quick(self) -> "Evaluation":
        """The part that a quick evaluation measures too, to compare one with."""
        return replace(
            self,
            questions=tuple(questions.common for questions in self.questions),
            edits=tuple(replace(a, forms=(), multihop=(), recited=()) for a in self.edits),
            ability_items=(),
            abilities=(),
            right_abilities=(),
            drift=self.drift.first(QUICK_TEXTS),
            quick=True,
        )

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers, those about edits first."""
        return (*(a for answers in self.edits for a in _answers_of(answers)), *self.abilities)


def observe(
    suite: EvalSuite,
    prefix_cache: PrefixCache,
    edits: Sequence[str],
    *,
    thorough: bool = True,
    texts: Texts = "all",
    untouched: bool = False,
) -> Evaluation:
    """Asks the model, as it is now, about the given edits, the abilities and the neutral texts.

    What the `untouched` one makes of the neutral texts is known. Only a thorough evaluation asks
    other forms and multi-hop questions, reads the neighbours' stated answers, and reads the neutral
    texts a second time without special tokens.
    """
    questions, neutral = suite.of(edits), suite.neutral.half(texts)
    if not thorough:
        questions = tuple(edit.common for edit in questions)
        neutral = replace(neutral, bare=())
    about_edits = [question for edit in questions for question in _all_of(edit)]
    # In one call: the more questions, the fuller the batches.
    answers = ask(suite.text_generator, prefix_cache, [*about_edits, *suite.abilities])
    replies = iter(answers)
    # Each edit takes its own in the order of `_all_of`; the abilities have what is left.
    per_edit = tuple(_sort_answers(edit, replies) for edit in questions)
    return Evaluation(
        questions=questions,
        edits=per_edit,
        ability_items=suite.ability_items,
        abilities=tuple(replies),
        right_abilities=tuple(question.wanted for question in suite.abilities),
        drift=drift(prefix_cache, neutral, untouched=untouched),
        prompt_format=suite.prompt_format,
        texts=texts,
    )


def quick_eval(
    suite: EvalSuite, prefix_cache: PrefixCache, edits: Sequence[str], *, texts: Texts = "all"
) -> Evaluation:
    """A quick evaluation on the given edits: one pass without any decoding, and a few neutral
    texts."""
    questions = tuple(edit.common for edit in suite.of(edits))
    about_edits = [question for edit in questions for question in _all_of(edit)]
    # Without abilities: they are judged by their text, and nothing is decoded here.
    replies = iter(read_answers(prefix_cache, about_edits))
    return Evaluation(
        questions=questions,
        edits=tuple(_sort_answers(edit, replies) for edit in questions),
        ability_items=(),
        abilities=(),
        right_abilities=(),
        drift=quick_drift(suite, prefix_cache, texts=texts),
        prompt_format=suite.prompt_format,
        quick=True,
        texts=texts,
    )


def quick_drift(suite: EvalSuite, prefix_cache: PrefixCache, *, texts: Texts = "all") -> Drift:
    """The drift of the model, as it is now, on a few of the neutral texts."""
    return drift(prefix_cache, suite.neutral.half(texts).first(QUICK_TEXTS))


def _all_of(edit: EditQuestions) -> tuple[Question, ...]:
    # In the order in which `_sort_answers` takes the answers.
    return (
        *(edit.target, *edit.rephrases, *edit.neighbours),
        *(*edit.forms, *edit.multihop, *edit.recited),
    )


def _sort_answers(edit: EditQuestions, replies: Iterator[Answer]) -> EditAnswers:
    def answers_to(questions: Sequence[Question]) -> tuple[Answer, ...]:
        return tuple(next(replies) for _ in questions)

    return EditAnswers(
        target=next(replies),
        rephrases=answers_to(edit.rephrases),
        neighbours=answers_to(edit.neighbours),
        forms=answers_to(edit.forms),
        multihop=answers_to(edit.multihop),
        recited=answers_to(edit.recited),
    )


def _answers_of(a: EditAnswers) -> tuple[Answer, ...]:
    # Recited answers are left out: they are read, and never decoded.
    return (a.target, *a.rephrases, *a.neighbours, *a.forms, *a.multihop)
