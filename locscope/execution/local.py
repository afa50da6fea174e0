"""Runs trials one after the other on this machine, in layer order, for the prefix cache's sake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from locscope.errors import OutOfMemory
from locscope.evaluation.suite import Evaluation
from locscope.locations import Location
from locscope.progress import Progress, stage
from locscope.records import Trial, TrialRecord
from locscope.tuning.trial import TrialContext, run_trial

SMALLEST_BATCH = 256
"""Tokens at once below which a trial is given up for lack of memory."""


@dataclass(frozen=True)
class Worker:
    """What runs trials: their context and the untouched model's answers."""

    context: TrialContext
    before: Evaluation


def run_trials(
    worker: Worker,
    name: str,
    trials: Sequence[Trial],
    keep: Callable[[TrialRecord], None],
    progress: Progress,
    share: float = 0.0,
) -> None:
    """Runs the trials and hands each record to `keep` as soon as it is there.

    `share` is what part of the whole job they are (per cent), for progress. Where memory ends, a
    trial runs again with half as many tokens at once; raises OutOfMemory where few do not fit.
    """
    context = worker.context
    with stage(progress, name, len(trials), share):
        # Rising layers: the prefix cache then moves up block by block and never starts again.
        waiting = sorted(trials, key=lambda trial: Location.parse(trial.location).lowest)
        while waiting:
            trial = waiting[0]
            try:
                record = run_trial(context, trial, worker.before.of(trial.measured))
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                _halve(context, trial, progress)
                continue
            keep(record)
            progress.advance(_note(record))
            del waiting[0]


def _halve(context: TrialContext, trial: Trial, progress: Progress) -> None:
    """Half as many tokens at once from here on, for all trials that follow too."""
    cache = context.prefix_cache
    cache.tokens_at_once //= 2
    progress.say(f"out of memory: {cache.tokens_at_once} tokens at once from here")
    if cache.tokens_at_once < SMALLEST_BATCH:
        raise OutOfMemory(
            f"{trial.location} does not fit on {context.loaded.info.device}: tried down "
            f"to {SMALLEST_BATCH} tokens at once; take a smaller part, or --dtype bfloat16"
        )


def _note(record: TrialRecord) -> str:
    score = "score not measured" if record.score != record.score else f"score {record.score:.3f}"
    return f"{record.trial.location} lr {record.trial.recipe.lr:.1e} {score}"
