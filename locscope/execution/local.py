"""Runs trials one after the other in this process, in layer order, for the prefix cache's sake."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from locscope.errors import OutOfMemory
from locscope.progress import Progress, stage
from locscope.records import Trial, TrialRecord
from locscope.scoring.objectives import BALANCED, Objective
from locscope.tuning.trial import entered_parts, run_trial
from locscope.tuning.workspace import Workspace, trial_threads

SMALLEST_BATCH = 256
"""Tokens at once below which a trial is given up for lack of memory."""


def run_trials(
    workspace: Workspace,
    name: str,
    trials: Sequence[Trial],
    keep: Callable[[TrialRecord], None],
    progress: Progress,
    *,
    objective: Objective = BALANCED,
    share: float = 0.0,
    alone: bool = False,
) -> None:
    """Runs the trials and hands each record to `keep` as soon as it is there.

    `share` is what part of the whole job they are (per cent), for progress; `alone` says that no
    other trial was asked for beside the one that is. Where memory ends, a
    trial runs again with half as many tokens at once; raises OutOfMemory where few do not fit.
    """
    with stage(progress, name, len(trials), share):
        # Rising layers: the prefix cache then moves up block by block and never starts again.
        waiting = sorted(trials, key=lambda trial: trial.location.lowest)
        while waiting:
            trial = waiting[0]
            try:
                with as_searched(workspace, trial, alone=alone):
                    record = run_trial(workspace, trial, objective).record
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                _halve(workspace, trial, progress)
                continue
            keep(record)
            progress.advance(note(record))
            del waiting[0]


@contextmanager
def as_searched(workspace: Workspace, trial: Trial, *, alone: bool) -> Iterator[None]:
    """Within, the trial runs as a search runs it, bit for bit: `alone`, or one of several that it
    asks for at once."""
    device = workspace.loaded.model.device
    # What is kept for other trials is always computed by one thread: the stream that they begin
    # with, and the loss that a collapse is told by.
    with trial_threads(device):
        entered_parts(workspace, trial)
        _ = workspace.baseline_loss
    with trial_threads(device, alone=alone):
        yield


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def note(record: TrialRecord) -> str:
    """A trial that was run, in a few words."""
    score = "score not measured" if record.score != record.score else f"score {record.score:.3f}"
    return f"{record.trial.location} lr {record.trial.recipe.lr:.1e} {score}"


def _halve(workspace: Workspace, trial: Trial, progress: Progress) -> None:
    """Half as many tokens at once from here on, for all trials that follow too."""
    cache = workspace.prefix_cache
    # What was computed in larger batches is not what smaller ones would give, bit for bit.
    cache.release()
    cache.tokens_at_once //= 2
    progress.say(f"out of memory: {cache.tokens_at_once} tokens at once from here")
    if cache.tokens_at_once < SMALLEST_BATCH:
        raise OutOfMemory(
            f"{trial.location} does not fit on {workspace.loaded.info.device}: tried down "
            f"to {SMALLEST_BATCH} tokens at once; take a smaller part, or --dtype bfloat16"
        )
