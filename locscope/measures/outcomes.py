"""What one edit's answers are worth, and how such values become a measure."""

from collections.abc import Callable, Iterable
from math import isnan, nan

from locscope.edits.splits import groups
from locscope.engine.exam import EditAnswers, EditQuestions, Observation
from locscope.records import EditOutcome, Measure
from locscope.scoring.statistics import mean_interval
from locscope.scoring.text import normalised_match

EditValue = Callable[[EditQuestions, EditAnswers], float]


def reliable(asked: EditQuestions, said: EditAnswers) -> float:
    """1 if the prompt is answered with the new target, after normalisation."""
    return float(normalised_match(said.target.text, asked.target.wanted))


def strictly_reliable(_: EditQuestions, said: EditAnswers) -> float:
    """1 if the answer is exactly the target's tokens and a stop token."""
    return float(said.target.strict)


def general(asked: EditQuestions, said: EditAnswers) -> float:
    """Share of rephrases answered with the new target; NaN without rephrases."""
    pairs = zip(said.rephrases, asked.rephrases, strict=True)
    return mean(float(normalised_match(answer.text, question.wanted)) for answer, question in pairs)


def local(asked: EditQuestions, said: EditAnswers) -> float:
    """Share of neighbours whose answer span is unchanged; NaN without neighbours."""
    pairs = zip(said.neighbours, asked.neighbours, strict=True)
    return mean(float(answer.text == question.wanted) for answer, question in pairs)


def outcome_of(asked: EditQuestions, said: EditAnswers) -> EditOutcome:
    """The record of one edit."""
    neighbours = zip(asked.edit.neighbours, asked.neighbours, said.neighbours, strict=True)
    return EditOutcome(
        edit=asked.edit.id,
        reliability=reliable(asked, said),
        reliability_strict=strictly_reliable(asked, said),
        generalization=general(asked, said),
        locality=local(asked, said),
        output=said.target.text,
        broken=tuple(
            probe.prompt for probe, question, answer in neighbours if answer.text != question.wanted
        ),
    )


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else nan


def edit_measure(
    name: str, value: EditValue, protocol: str, now: Observation, before: Observation
) -> Measure:
    """The mean of a value over the edits that have one, with its interval and the value before."""
    values = _values(value, now)
    # Edits on one subject rise and fall together, so whole groups are drawn.
    interval = mean_interval(values, groups([asked.edit for asked in now.questions]))
    return Measure(
        name=name,
        value=interval.value,
        count=interval.count,
        protocol=f"{protocol}; {now.prompt_format} prompt; mean per edit",
        low=interval.low,
        high=interval.high,
        before=mean(v for v in _values(value, before) if not isnan(v)) if interval.count else nan,
    )


def _values(value: EditValue, seen: Observation) -> list[float]:
    pairs = zip(seen.questions, seen.edits, strict=True)
    return [value(asked, said) for asked, said in pairs]
