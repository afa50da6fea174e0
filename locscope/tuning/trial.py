"""A trial: tune one location, measure what became of the edits and of the rest, give all back."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.engine.cost import forward_flops, shape_of, step_flops
from locscope.engine.exam import Exam, Observation, look, observe
from locscope.engine.trunk import Trunk
from locscope.locations import Location
from locscope.measures import measure_all
from locscope.measures.outcomes import outcomes_of
from locscope.models.load import Loaded
from locscope.models.parts import Slice
from locscope.models.save import Change
from locscope.records import Epoch, Recipe, Trial, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, Objective, glance_score, score
from locscope.tuning.collapse import glance_loss, never, status_of, watch
from locscope.tuning.importance import Importances
from locscope.tuning.masters import Masters, borrowed
from locscope.tuning.orders import order_of
from locscope.tuning.tunable import Ground, tunable_of


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
    """Runs a trial; the model's weights are back afterwards. `before` is of the same edits."""
    return run_keeping(bench, trial, before, keep=False).record


def run_keeping(bench: Bench, trial: Trial, before: Observation, *, keep: bool) -> Tuned:
    """Runs a trial and, with `keep`, hands out the tuned weights beside its record."""
    began = time.perf_counter()
    with as_tuned(bench, trial) as held:
        now = _observed(bench, trial)
        changes = held.masters.changes() if keep else ()
        norm = _distance(held.start, held.masters.weights())
    work = _Work(
        epochs=held.epochs,
        pieces=held.masters.slices,
        count=sum(value.numel() for value in held.masters.values),
        norm=norm,
        seconds=time.perf_counter() - began,
        flops=_flops(bench, trial.recipe, held.lowest, held.rows, held.epochs),
    )
    return Tuned(_record(bench, trial, now, before, work), changes)


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
    calm = bench.calm
    rows = tuple(row for one in bench.exam.of(trial.edits) for row in one.training)
    with borrowed(model, tunable.parts, stored_dtype(bench.loaded), tunable.unbiased) as masters:
        start = tuple(weights.clone() for weights in masters.weights())
        # A choice is made on S alone; on R everything is measured, whatever comes of it.
        gives_up = trial.split == "S" and not trial.glance
        lost = watch(bench.exam, bench.trunk, bench.objective, calm) if gives_up else never
        tune = order_of(trial.recipe)
        epochs = tune(bench.trunk, masters, rows, trial.recipe, trial.seed, lost)
        yield Held(masters, start, epochs, tunable.lowest, rows)


def stored_dtype(loaded: Loaded) -> torch.dtype:
    """The dtype of the weights on disk, to which tuned weights are rounded."""
    return getattr(torch, loaded.info.stored)


@dataclass(frozen=True)
class _Work:
    """What tuning did, as far as the record tells of it."""

    epochs: tuple[Epoch, ...]
    pieces: tuple[Slice, ...]
    count: int
    norm: float
    seconds: float
    flops: float


def _record(
    bench: Bench, trial: Trial, now: Observation, before: Observation, work: _Work
) -> TrialRecord:
    before = before.at_a_glance if trial.glance else before
    measures = measure_all(now, before)
    total = (glance_score if trial.glance else score)(measures, bench.objective)
    return TrialRecord(
        trial=trial,
        status=status_of(trial.recipe, work.epochs),
        score=total.value,
        score_name=total.name,
        measures=measures,
        outcomes=outcomes_of(now, before),
        epochs=work.epochs,
        parameters=tuple(dict.fromkeys(piece.name for piece in work.pieces)),
        parameter_count=work.count,
        change_norm=work.norm,
        decoded=sum(answer.decoded for answer in now.answers),
        seconds=work.seconds,
        flops=work.flops,
        violated=violations(measures, bench.objective.bounds),
    )


def _observed(bench: Bench, trial: Trial) -> Observation:
    if trial.glance:
        return look(bench.exam, bench.trunk, trial.edits)
    return observe(bench.exam, bench.trunk, trial.edits, thorough=trial.thorough)


def _distance(start: Sequence[Float[Tensor, " _"]], end: Sequence[Float[Tensor, " _"]]) -> float:
    """Euclidean norm of the change of all tuned weights together."""
    squares = [float((b - a).double().square().sum()) for a, b in zip(start, end, strict=True)]
    return sum(squares) ** 0.5


def _flops(
    bench: Bench, recipe: Recipe, lowest: int, rows: Sequence[int], epochs: Sequence[Epoch]
) -> float:
    """Operations of the tuning steps, and of one forward pass over what is measured.

    What is measured is taken as the share of the sheet that the trial's edits have.
    """
    shape, sheet = shape_of(bench.loaded.info), bench.exam.sheet
    index = torch.tensor(rows)
    tokens = int(sheet.lengths[index].sum())
    scored = tokens - int((sheet.answers[index] - 1).sum())
    # In batches, as depth-first order does not go over all rows equally often.
    batches = sum(epoch.steps + epoch.skipped for epoch in epochs)
    one_pass = len(rows) if recipe.order == "depth-first" else ceil(len(rows) / recipe.batch)
    share = len(rows) / sum(len(one.training) for one in bench.exam.edits)
    whole = int(sheet.ids.numel() * share)
    tuning = step_flops(shape, tokens, scored, lowest) * batches / one_pass
    return tuning + forward_flops(shape, whole, whole, lowest)
