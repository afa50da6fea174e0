"""What a trial costs, counted from its texts: before it runs, and for its record afterwards.

Operations are in floating point, counted from shapes: a multiply-add is two, and backward costs
twice the forward. Attention's own products are left out: at the lengths of edits they are below one
per cent of those with the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from locscope.evaluation.suite import QUICK_TEXTS, EditQuestions, EvalSuite
from locscope.records import Epoch, ModelInfo, Recipe, Trial


@dataclass(frozen=True)
class TrialCost:
    """Counts of what takes a trial's time; as seconds per count, the rates of a machine.

    Steps and updates are the optimiser's, answers are those that may have to be decoded.
    """

    trials: float
    steps: float
    tuning_flops: float
    updates: float
    reading_flops: float
    answers: float


def trial_cost_of(
    suite: EvalSuite, info: ModelInfo, trial: Trial, lowest: int, parameters: int
) -> TrialCost:
    """The cost of a trial that goes through all its epochs.

    It tunes so many `parameters` from the layer `lowest` up. Edits that the evaluation suite does
    not have are taken to be like the others.
    """
    edits = suite.of(trial.edits)
    # The suite may lack some edits: those of larger counts are written later.
    times = len(trial.edits) / len(edits)
    training = torch.tensor([row for questions in edits for row in questions.training])
    epochs = trial.recipe.epochs
    steps = epochs * _steps(trial.recipe, len(training) * times)
    questions = _questions(suite, suite.of(trial.measured), trial)
    neutral = _neutral(suite, trial)
    tuning = step_flops(info, *_tokens(suite, training, times), lowest)
    often = len(trial.measured) / max(1, len(suite.of(trial.measured)))
    tokens, scored = _tokens(suite, questions, often)
    # Every token of a neutral text is scored.
    others = int(suite.packed.lengths[neutral].sum())
    return TrialCost(
        trials=1.0,
        steps=float(steps),
        tuning_flops=epochs * tuning,
        updates=float(steps * parameters),
        reading_flops=forward_flops(info, tokens + others, scored + others, lowest),
        answers=0.0 if trial.quick else len(questions) * often,
    )


def flops_of(cost: TrialCost, epochs: Sequence[Epoch]) -> float:
    """Operations of a trial that went through these epochs.

    Decoding, and the neutral texts that are read while tuning, are left out.
    """
    # A step that was skipped is a forward pass, a third of a step that was taken.
    done = sum(epoch.steps + epoch.skipped / 3 for epoch in epochs)
    tuning = cost.tuning_flops * done / cost.steps if done else 0.0
    return tuning + cost.reading_flops


def forward_flops(info: ModelInfo, tokens: int, scored: int, start: int = 0) -> float:
    """A forward pass from block `start` on, with logits at the scored positions."""
    block = next(cell.parameters for cell in info.grid if cell.part == "block")
    head = info.vocabulary * info.width
    return 2.0 * (tokens * (info.layers - start) * block + scored * head)


def step_flops(info: ModelInfo, tokens: int, scored: int, start: int) -> float:
    """A training step on the prefix cache: forward, and backward down to the tuned layer."""
    return 3.0 * forward_flops(info, tokens, scored, start)


def blocks_of(info: ModelInfo) -> int:
    """Weights of all blocks: what the recipe `all` tunes."""
    return sum(cell.parameters for cell in info.grid if cell.part == "block")


def _steps(recipe: Recipe, rows: float) -> int:
    """Steps of one epoch; depth-first order steps on one row at a time."""
    return ceil(rows) if recipe.order == "depth-first" else ceil(rows / recipe.batch)


def _questions(suite: EvalSuite, edits: Sequence[EditQuestions], trial: Trial) -> torch.Tensor:
    """Rows of the questions that the trial is asked."""
    rows = [
        question.index
        for edit in edits
        for question in (
            *(edit.target, *edit.rephrases, *edit.neighbours),
            *((*edit.forms, *edit.multihop, *edit.recited) if trial.thorough else ()),
        )
    ]
    rows += [] if trial.quick else [question.index for question in suite.abilities]
    return torch.tensor(rows, dtype=torch.long)


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
