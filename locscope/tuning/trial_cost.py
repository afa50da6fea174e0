"""What a trial does, counted from its texts: before it runs, and for its record afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from locscope.evaluation.suite import QUICK_TEXTS, EditQuestions, EvalSuite
from locscope.forward.flops import forward_flops, shape_of, step_flops
from locscope.records import Epoch, ModelInfo, Recipe, Trial


@dataclass(frozen=True)
class TrainableExtent:
    """The lowest layer that a trial changes, and how many weights it tunes."""

    lowest: int
    parameters: int


@dataclass(frozen=True)
class TrialCost:
    """What a trial does. Operations are in floating point."""

    trials: float
    steps: float
    tuning_flops: float
    updates: float
    reading_flops: float
    answers: float


def trial_cost_of(
    suite: EvalSuite, info: ModelInfo, trial: Trial, reach: TrainableExtent
) -> TrialCost:
    """What the trial does if it goes through all its epochs.

    Edits that the evaluation suite does not know are taken to be like the others.
    """
    shape, asked = shape_of(info), suite.of(trial.edits)
    times = len(trial.edits) / len(asked)
    training = torch.tensor([row for one in asked for row in one.training])
    epochs = trial.recipe.epochs
    steps = epochs * _steps(trial.recipe, len(training) * times)
    questions = _questions(suite, suite.of(trial.measured), trial)
    neutral = _neutral(suite, trial)
    tuning = step_flops(shape, *_tokens(suite, training, times), reach.lowest)
    often = len(trial.measured) / max(1, len(suite.of(trial.measured)))
    tokens, scored = _tokens(suite, questions, often)
    others = int(suite.packed.lengths[neutral].sum())
    return TrialCost(
        trials=1.0,
        steps=float(steps),
        tuning_flops=epochs * tuning,
        updates=float(steps * reach.parameters),
        reading_flops=forward_flops(shape, tokens + others, scored + others, reach.lowest),
        answers=0.0 if trial.quick else len(questions) * often,
    )


def flops_of(work: TrialCost, epochs: Sequence[Epoch]) -> float:
    """Operations of a trial that went through these epochs; a step that was skipped is a forward
    pass, a third of one that was taken.

    Decoding and quick evaluations at neutral texts on the way are left out.
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


def _questions(suite: EvalSuite, asked: Sequence[EditQuestions], trial: Trial) -> torch.Tensor:
    """Rows of the questions that the trial is asked."""
    found = [
        question.index
        for one in asked
        for question in (
            *(one.target, *one.rephrases, *one.neighbours),
            *((*one.forms, *one.multihop, *one.recited) if trial.thorough else ()),
        )
    ]
    found += [] if trial.quick else [question.index for question in suite.abilities]
    return torch.tensor(found, dtype=torch.long)


def _neutral(suite: EvalSuite, trial: Trial) -> torch.Tensor:
    """Rows of the neutral texts that the trial reads."""
    neutral = suite.neutral.half(suite.texts_for(choosing=trial.choosing))
    rows = neutral.texts[: QUICK_TEXTS if trial.quick else None]
    rows += neutral.bare if trial.thorough else ()
    return torch.tensor(rows, dtype=torch.long)


def _tokens(suite: EvalSuite, rows: torch.Tensor, times: float) -> tuple[int, int]:
    """Of so many times these rows: tokens, and positions at which logits are wanted."""
    lengths, answers = suite.packed.lengths[rows], suite.packed.answers[rows]
    return int(lengths.sum() * times), int((lengths - answers + 1).sum() * times)
