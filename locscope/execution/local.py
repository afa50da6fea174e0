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
    """What a run of trials needs: the context, the untouched model's answers, and who listens.

    `known` gives the record of a finished trial or None, `keep` stores a new one.
    """

    context: TrialContext
    before: Evaluation
    known: Callable[[str], TrialRecord | None]
    keep: Callable[[TrialRecord], None]
    progress: Progress


def run_trials(
    worker: Worker, name: str, trials: Sequence[Trial], share: float = 0.0
) -> tuple[TrialRecord, ...]:
    """The records of the trials, in their order; those already known are not run again.

    `share` is what part of the whole job they are, for progress.
    """
    once = {trial.id: trial for trial in trials}
    known = {key: worker.known(key) for key in once}
    found = {key: record for key, record in known.items() if record is not None}
    missing = [trial for key, trial in once.items() if key not in found]
    with stage(worker.progress, name, len(missing), share):
        for trial in sorted(missing, key=lambda one: Location.parse(one.location).lowest):
            found[trial.id] = _run_within_memory(worker, trial)
            worker.keep(found[trial.id])
            worker.progress.advance(_note(found[trial.id]))
    return tuple(found[trial.id] for trial in trials)


def _run_within_memory(worker: Worker, trial: Trial) -> TrialRecord:
    """Runs a trial; where memory ends, again with half as many tokens at once."""
    prefix_cache = worker.context.prefix_cache
    while True:
        try:
            return run_trial(worker.context, trial, worker.before.of(trial.measured))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            prefix_cache.tokens_at_once //= 2
            worker.progress.say(
                f"out of memory: {prefix_cache.tokens_at_once} tokens at once from here"
            )
        if prefix_cache.tokens_at_once < SMALLEST_BATCH:
            raise OutOfMemory(
                f"{trial.location} does not fit on {worker.context.loaded.info.device}: tried down "
                f"to {SMALLEST_BATCH} tokens at once; take a smaller part, or --dtype bfloat16"
            )


def _note(record: TrialRecord) -> str:
    score = "score not measured" if record.score != record.score else f"score {record.score:.3f}"
    return f"{record.trial.location} lr {record.trial.recipe.lr:.1e} {score}"
