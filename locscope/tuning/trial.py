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
from locscope.evaluation.suite import EvalSuite, Evaluation, observe, quick_eval
from locscope.forward.prefix_cache import PrefixCache
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import Slice
from locscope.models.save import Change
from locscope.records import Epoch, Trial, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, Objective, quick_objective, score, score_name
from locscope.tuning.collapse import never, quick_loss, status_of, watch
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import MasterWeights, temporarily_trainable
from locscope.tuning.orders import order_of
from locscope.tuning.trainable import RecipeInput, trainable_set_of
from locscope.tuning.trial_cost import TrainableExtent, flops_of, trial_cost_of


@dataclass(frozen=True)
class TrialContext:
    """What the trials of a run share: the model, the evaluation suite, and its prefix cache (which
    advances)."""

    loaded: Loaded
    suite: EvalSuite
    prefix_cache: PrefixCache
    objective: Objective = BALANCED

    @cached_property
    def baseline_loss(self) -> float:
        """Nats a token of the untouched model on some neutral texts: ask before it is tuned."""
        return quick_loss(self.suite, self.prefix_cache)

    @cached_property
    def importances(self) -> Importances:
        """How much general ability leans on the untouched model's units."""
        return Importances(
            self.loaded.model, self.suite.packed, self.suite.neutral.texts, self.prefix_cache.budget
        )


@dataclass(frozen=True)
class Tuned:
    """A trial's record and, where they were asked for, the weights it ended with."""

    record: TrialRecord
    changes: tuple[Change, ...]


def run_trial(context: TrialContext, trial: Trial, before: Evaluation) -> TrialRecord:
    """Runs a trial; the model's weights are back afterwards. `before` is of the edits measured."""
    return run_keeping(context, trial, before, keep=False).record


def run_keeping(context: TrialContext, trial: Trial, before: Evaluation, *, keep: bool) -> Tuned:
    """Runs a trial and, with `keep`, hands out the tuned weights beside its record."""
    began = time.perf_counter()
    with as_tuned(context, trial) as state:
        now = _observed(context, trial)
        changes = state.masters.changes() if keep else ()
        norm = _distance(state.start, state.masters.weights())
    count = sum(value.numel() for value in state.masters.values)
    planned = trial_cost_of(
        context.suite, context.loaded.info, trial, TrainableExtent(state.lowest, count)
    )
    done = _Done(
        epochs=state.epochs,
        pieces=state.masters.slices,
        count=count,
        norm=norm,
        seconds=time.perf_counter() - began,
        flops=flops_of(planned, state.epochs),
    )
    return Tuned(_record(context, trial, now, before, done), changes)


@dataclass(frozen=True)
class TunedState:
    """What there is while a model is tuned: `rows` of the sheet were, from layer `lowest` up.

    `start` are the selected weights of every slice as they were before.
    """

    masters: MasterWeights
    start: tuple[Float[Tensor, " _"], ...]
    epochs: tuple[Epoch, ...]
    lowest: int
    rows: tuple[int, ...]


@contextmanager
def as_tuned(context: TrialContext, trial: Trial) -> Iterator[TunedState]:
    """The model tuned as the trial says; afterwards its weights are back, bit for bit."""
    model, location = context.loaded.model, Location.parse(trial.location)
    tunable = trainable_set_of(
        RecipeInput(model, location, trial.recipe, trial.seed, context.importances)
    )
    context.prefix_cache.enter(tunable.lowest)
    # What is reported on is measured whatever comes of it.
    gives_up = trial.choosing and not trial.quick
    collapsed = (
        watch(context.suite, context.prefix_cache, context.objective, context.baseline_loss)
        if gives_up
        else never
    )
    rows = tuple(row for one in context.suite.of(trial.edits) for row in one.training)
    with temporarily_trainable(
        model, tunable.parts, stored_dtype(context.loaded), tunable.unbiased
    ) as masters:
        start = tuple(weights.clone() for weights in masters.weights())
        tune = order_of(trial.recipe)
        epochs = tune(context.prefix_cache, masters, rows, trial.recipe, trial.seed, collapsed)
        yield TunedState(masters, start, epochs, tunable.lowest, rows)


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
    context: TrialContext, trial: Trial, now: Evaluation, before: Evaluation, done: _Done
) -> TrialRecord:
    before = before.on(context.suite.texts_for(choosing=trial.choosing))
    before = before.at_a_quick if trial.quick else before
    measures = measure_all(now, before)
    objective = context.objective.strict if trial.choosing else context.objective
    scored_by = quick_objective(objective) if trial.quick else objective
    return TrialRecord(
        trial=trial,
        status=status_of(trial.recipe, done.epochs),
        score=score(measures, scored_by),
        score_name=score_name(measures, scored_by),
        measures=measures,
        outcomes=outcomes_of(now, before),
        epochs=done.epochs,
        parameters=tuple(dict.fromkeys(piece.name for piece in done.pieces)),
        parameter_count=done.count,
        change_norm=done.norm,
        decoded=sum(answer.decoded for answer in now.answers),
        seconds=done.seconds,
        flops=done.flops,
        violated=violations(measures, objective.bounds),
    )


def _observed(context: TrialContext, trial: Trial) -> Evaluation:
    texts = context.suite.texts_for(choosing=trial.choosing)
    if trial.quick:
        return quick_eval(context.suite, context.prefix_cache, trial.measured, texts=texts)
    return observe(
        context.suite, context.prefix_cache, trial.measured, thorough=trial.thorough, texts=texts
    )


def _distance(start: Sequence[Float[Tensor, " _"]], end: Sequence[Float[Tensor, " _"]]) -> float:
    """Euclidean norm of the change of all tuned weights together."""
    squares = [float((b - a).double().square().sum()) for a, b in zip(start, end, strict=True)]
    return sum(squares) ** 0.5
