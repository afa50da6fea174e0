"""A trial: tune one location, measure what became of the edits and of the rest, give all back."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.evaluation.measures import measure_all
from locscope.evaluation.measures.outcomes import outcomes_of
from locscope.evaluation.suite import Exam, Observation, look, observe
from locscope.forward.prefix_cache import Trunk
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import Slice
from locscope.models.save import Change
from locscope.records import Epoch, Trial, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, Objective, glance_score, score
from locscope.tuning.collapse import glance_loss, never, status_of, watch
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import Masters, borrowed
from locscope.tuning.orders import order_of
from locscope.tuning.trainable import Ground, tunable_of
from locscope.tuning.trial_cost import Reach, flops_of, work_of


@dataclass(frozen=True)
class Bench:
    """What the trials of a run share: the model, the exam, and its trunk (which advances)."""

    loaded: Loaded
    exam: Exam
    trunk: Trunk
    objective: Objective = BALANCED

    @cached_property
    def calm(self) -> float:
        """Nats a token of the untouched model on some neutral texts: ask before it is tuned."""
        return glance_loss(self.exam, self.trunk)

    @cached_property
    def importances(self) -> Importances:
        """How much general ability leans on the untouched model's units."""
        return Importances(
            self.loaded.model, self.exam.sheet, self.exam.neutral.texts, self.trunk.budget
        )


@dataclass(frozen=True)
class Tuned:
    """A trial's record and, where they were asked for, the weights it ended with."""

    record: TrialRecord
    changes: tuple[Change, ...]


def run_trial(bench: Bench, trial: Trial, before: Observation) -> TrialRecord:
    """Runs a trial; the model's weights are back afterwards. `before` is of the edits measured."""
    return run_keeping(bench, trial, before, keep=False).record


def run_keeping(bench: Bench, trial: Trial, before: Observation, *, keep: bool) -> Tuned:
    """Runs a trial and, with `keep`, hands out the tuned weights beside its record."""
    began = time.perf_counter()
    with as_tuned(bench, trial) as held:
        now = _observed(bench, trial)
        changes = held.masters.changes() if keep else ()
        norm = _distance(held.start, held.masters.weights())
    count = sum(value.numel() for value in held.masters.values)
    planned = work_of(bench.exam, bench.loaded.info, trial, Reach(held.lowest, count))
    done = _Done(
        epochs=held.epochs,
        pieces=held.masters.slices,
        count=count,
        norm=norm,
        seconds=time.perf_counter() - began,
        flops=flops_of(planned, held.epochs),
    )
    return Tuned(_record(bench, trial, now, before, done), changes)


@dataclass(frozen=True)
class Held:
    """What there is while a model is tuned: `rows` of the sheet were, from layer `lowest` up.

    `start` are the selected weights of every slice as they were before.
    """

    masters: Masters
    start: tuple[Float[Tensor, " _"], ...]
    epochs: tuple[Epoch, ...]
    lowest: int
    rows: tuple[int, ...]


@contextmanager
def as_tuned(bench: Bench, trial: Trial) -> Iterator[Held]:
    """The model tuned as the trial says; afterwards its weights are back, bit for bit."""
    model, location = bench.loaded.model, Location.parse(trial.location)
    tunable = tunable_of(Ground(model, location, trial.recipe, trial.seed, bench.importances))
    bench.trunk.enter(tunable.lowest)
    # What is reported on is measured whatever comes of it.
    gives_up = trial.choosing and not trial.glance
    lost = watch(bench.exam, bench.trunk, bench.objective, bench.calm) if gives_up else never
    rows = tuple(row for one in bench.exam.of(trial.edits) for row in one.training)
    with borrowed(model, tunable.parts, stored_dtype(bench.loaded), tunable.unbiased) as masters:
        start = tuple(weights.clone() for weights in masters.weights())
        tune = order_of(trial.recipe)
        epochs = tune(bench.trunk, masters, rows, trial.recipe, trial.seed, lost)
        yield Held(masters, start, epochs, tunable.lowest, rows)


def stored_dtype(loaded: Loaded) -> torch.dtype:
    """The dtype of the weights on disk, to which tuned weights are rounded."""
    return getattr(torch, loaded.info.stored)


@dataclass(frozen=True)
class _Done:
    """What tuning did, as far as the record tells of it."""

    epochs: tuple[Epoch, ...]
    pieces: tuple[Slice, ...]
    count: int
    norm: float
    seconds: float
    flops: float


def _record(
    bench: Bench, trial: Trial, now: Observation, before: Observation, done: _Done
) -> TrialRecord:
    before = before.on(bench.exam.texts_for(choosing=trial.choosing))
    before = before.at_a_glance if trial.glance else before
    measures = measure_all(now, before)
    aim = bench.objective.strict if trial.choosing else bench.objective
    total = (glance_score if trial.glance else score)(measures, aim)
    return TrialRecord(
        trial=trial,
        status=status_of(trial.recipe, done.epochs),
        score=total.value,
        score_name=total.name,
        measures=measures,
        outcomes=outcomes_of(now, before),
        epochs=done.epochs,
        parameters=tuple(dict.fromkeys(piece.name for piece in done.pieces)),
        parameter_count=done.count,
        change_norm=done.norm,
        decoded=sum(answer.decoded for answer in now.answers),
        seconds=done.seconds,
        flops=done.flops,
        violated=violations(measures, aim.bounds),
    )


def _observed(bench: Bench, trial: Trial) -> Observation:
    texts = bench.exam.texts_for(choosing=trial.choosing)
    if trial.glance:
        return look(bench.exam, bench.trunk, trial.measured, texts=texts)
    return observe(bench.exam, bench.trunk, trial.measured, thorough=trial.thorough, texts=texts)


def _distance(start: Sequence[Float[Tensor, " _"]], end: Sequence[Float[Tensor, " _"]]) -> float:
    """Euclidean norm of the change of all tuned weights together."""
    squares = [float((b - a).double().square().sum()) for a, b in zip(start, end, strict=True)]
    return sum(squares) ** 0.5
