"""What one edit's answers are worth, and how such values become a measure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import exp, isnan, nan

from locscope.edits.splits import groups
from locscope.evaluation.questions import Answer
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import EditOutcome, Measure
from locscope.scoring.statistics import mean_interval
from locscope.scoring.text import normalised_match

EditValue = Callable[[EditQuestions, EditAnswers], float]


def reliable(questions: EditQuestions, answers: EditAnswers) -> float:
    """1 if the prompt is answered with the new target, after normalisation."""
    return float(normalised_match(answers.target.text, questions.target.wanted))


def strictly_reliable(_: EditQuestions, answers: EditAnswers) -> float:
    """1 if the answer is exactly the target's tokens and a stop token."""
    return float(answers.target.strict)


def general(questions: EditQuestions, answers: EditAnswers) -> float:
    """Share of rephrases answered with the new target; NaN without rephrases."""
    pairs = zip(answers.rephrases, questions.rephrases, strict=True)
    return mean(float(normalised_match(answer.text, question.wanted)) for answer, question in pairs)


def local(_: EditQuestions, answers: EditAnswers) -> float:
    """Share of neighbours that keep the untouched model's tokens; NaN without neighbours."""
    return mean(float(answer.kept) for answer in answers.neighbours)


def target_probability(_: EditQuestions, answers: EditAnswers) -> float:
    """Geometric mean over the target's tokens (and its stop token), teacher-forced."""
    return exp(answers.target.logprob)


def rephrase_probability(_: EditQuestions, answers: EditAnswers) -> float:
    """The same over all rephrases' tokens; NaN without rephrases."""
    return exp(mean(answer.logprob for answer in answers.rephrases))


def neighbour_kept(answers: EditAnswers, before: EditAnswers) -> float:
    """Mean over neighbours of min(1, p/p0), p of the tokens that locality compares; NaN without
    any."""
    pairs = zip(answers.neighbours, before.neighbours, strict=True)
    return mean(_kept(now, untouched) for now, untouched in pairs)


def _kept(now: Answer, untouched: Answer) -> float:
    # In logarithms: both probabilities may be too small for a float, their ratio is not.
    change = now.logprob - untouched.logprob
    return change if isnan(change) else exp(min(0.0, change))


def quick_outcome_of(
    questions: EditQuestions, answers: EditAnswers, before: EditAnswers
) -> EditOutcome:
    """The record of one edit at a quick evaluation: probabilities alone, for nothing is decoded."""
    return EditOutcome(
        edit=questions.edit.id,
        reliability=nan,
        reliability_strict=nan,
        generalization=nan,
        locality=nan,
        target_probability=target_probability(questions, answers),
        rephrase_probability=rephrase_probability(questions, answers),
        neighbour_kept=neighbour_kept(answers, before),
    )


def outcomes_of(now: Evaluation, before: Evaluation) -> tuple[EditOutcome, ...]:
    """The records of all edits that were asked about."""
    record = quick_outcome_of if now.quick else outcome_of
    trios = zip(now.questions, now.edits, before.edits, strict=True)
    return tuple(record(*trio) for trio in trios)


def outcome_of(questions: EditQuestions, answers: EditAnswers, before: EditAnswers) -> EditOutcome:
    """The record of one edit."""
    neighbours = zip(questions.edit.neighbours, answers.neighbours, strict=True)
    return replace(
        quick_outcome_of(questions, answers, before),
        reliability=reliable(questions, answers),
        reliability_strict=strictly_reliable(questions, answers),
        generalization=general(questions, answers),
        locality=local(questions, answers),
        output=answers.target.text,
        broken=tuple(probe.prompt for probe, answer in neighbours if not answer.kept),
    )


def answered_already(before: Evaluation) -> tuple[str, ...]:
    """The ids of the edits that the untouched model answers with the new target: they count as
    reliable whatever is tuned."""
    pairs = zip(before.questions, before.edits, strict=True)
    return tuple(questions.edit.id for questions, answers in pairs if reliable(questions, answers))


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else nan


def edit_measure(
    name: str, value: EditValue, protocol: str, now: Evaluation, before: Evaluation
) -> Measure:
    """The mean of a value over the edits that have one, with its interval and the value before."""
    return mean_measure(name, _values(value, now), _values(value, before), protocol, now)


def mean_measure(
    name: str,
    values: Sequence[float],
    values_before: Sequence[float],
    protocol: str,
    now: Evaluation,
) -> Measure:
    """The mean of one value an edit, NaN left out, with its interval and the mean before."""
    # Edits on one subject rise and fall together, so whole groups are drawn.
    interval = mean_interval(values, groups([questions.edit for questions in now.questions]))
    return Measure(
        name=name,
        value=interval.value,
        count=interval.count,
        protocol=f"{protocol}; {now.prompt_format} prompt; mean per edit",
        low=interval.low,
        high=interval.high,
        before=mean(v for v in values_before if not isnan(v)) if interval.count else nan,
    )


def _values(value: EditValue, evaluation: Evaluation) -> list[float]:
    pairs = zip(evaluation.questions, evaluation.edits, strict=True)
    return [value(questions, answers) for questions, answers in pairs]
