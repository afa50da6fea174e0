"""What a trial does, counted from its texts: before it runs, and for its record afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from locscope.evaluation.suite import GLANCE_TEXTS, EditQuestions, Exam
from locscope.forward.flops import forward_flops, shape_of, step_flops
from locscope.records import Epoch, ModelInfo, Recipe, Trial


@dataclass(frozen=True)
class Reach:
    """The lowest layer that a trial changes, and how many weights it tunes."""

    lowest: int
    parameters: int


@dataclass(frozen=True)
class Work:
    """What a trial does. Operations are in floating point."""

    trials: float
    steps: float
    tuning_flops: float
    updates: float
    reading_flops: float
    answers: float


def work_of(exam: Exam, info: ModelInfo, trial: Trial, reach: Reach) -> Work:
    """What the trial does if it goes through all its epochs.

    Edits that the exam does not know are taken to be like the others.
    """
    shape, asked = shape_of(info), exam.of(trial.edits)
    times = len(trial.edits) / len(asked)
    training = torch.tensor([row for one in asked for row in one.training])
    epochs = trial.recipe.epochs
    steps = epochs * _steps(trial.recipe, len(training) * times)
    questions = _questions(exam, exam.of(trial.measured), trial)
    neutral = _neutral(exam, trial)
    tuning = step_flops(shape, *_tokens(exam, training, times), reach.lowest)
    often = len(trial.measured) / max(1, len(exam.of(trial.measured)))
    tokens, scored = _tokens(exam, questions, often)
    others = int(exam.sheet.lengths[neutral].sum())
    return Work(
        trials=1.0,
        steps=float(steps),
        tuning_flops=epochs * tuning,
        updates=float(steps * reach.parameters),
        reading_flops=forward_flops(shape, tokens + others, scored + others, reach.lowest),
        answers=0.0 if trial.glance else len(questions) * often,
    )


def flops_of(work: Work, epochs: Sequence[Epoch]) -> float:
    """Operations of a trial that went through these epochs; a step that was skipped is a forward
    pass, a third of one that was taken.

    Decoding and glances at neutral texts on the way are left out.
    """
    done = sum(epoch.steps + epoch.skipped / 3 for epoch in epochs)
    tuning = work.tuning_flops * done / work.steps if done else 0.0
    return tuning + work.reading_flops


def blocks_of(info: ModelInfo) -> int:
    """Weights of all blocks: what the recipe `all` tunes."""
    return sum(one.parameters for one in info.grid if one.part == "block")


def _steps(recipe: Recipe, rows: float) -> int:
    """Of one epoch; depth-first order steps on one row at a time, so often as there are epochs."""
    return ceil(rows) if recipe.order == "depth-first" else ceil(rows / recipe.batch)


def _questions(exam: Exam, asked: Sequence[EditQuestions], trial: Trial) -> torch.Tensor:
    """Rows of the questions that the trial is asked."""
    found = [
        question.index
        for one in asked
        for question in (
            *(one.target, *one.rephrases, *one.neighbours),
            *((*one.forms, *one.multihop, *one.recited) if trial.thorough else ()),
        )
    ]
    found += [] if trial.glance else [question.index for question in exam.abilities]
    return torch.tensor(found, dtype=torch.long)


def _neutral(exam: Exam, trial: Trial) -> torch.Tensor:
    """Rows of the neutral texts that the trial reads."""
    neutral = exam.neutral.half(exam.texts_for(choosing=trial.choosing))
    rows = neutral.texts[: GLANCE_TEXTS if trial.glance else None]
    rows += neutral.bare if trial.thorough else ()
    return torch.tensor(rows, dtype=torch.long)


def _tokens(exam: Exam, rows: torch.Tensor, times: float) -> tuple[int, int]:
    """Of so many times these rows: tokens, and positions at which logits are wanted."""
    lengths, answers = exam.sheet.lengths[rows], exam.sheet.answers[rows]
    return int(lengths.sum() * times), int((lengths - answers + 1).sum() * times)
