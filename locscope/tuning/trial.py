"""A trial: tune one location, measure the edits and everything else, restore the weights.

And where its learning rate starts: what Adam's first step is predicted to do.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan

import torch

from locscope.evaluation.measures import measure_all
from locscope.evaluation.measures.outcomes import outcomes_of
from locscope.evaluation.suite import EvalSuite, Evaluation, observe, quick_eval
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.gradients import mean_gradient
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.save import Change
from locscope.progress import Progress, Silent
from locscope.records import Epoch, Trial, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, Objective, quick_objective, score, score_name
from locscope.tuning.collapse import never, quick_loss, status_of, watch
from locscope.tuning.importance import Importances
from locscope.tuning.master_weights import MasterWeights, TunedPart, temporarily_trainable
from locscope.tuning.orders import order_of
from locscope.tuning.recipes import rate_for
from locscope.tuning.trainable import RecipeInput, lowest_layer, tuned_parts_of
from locscope.tuning.trial_cost import flops_of, trial_cost_of

_SILENT = Silent()


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
        """Nats a token of the untouched model on some neutral texts: read it before tuning."""
        return quick_loss(self.suite, self.prefix_cache)

    @cached_property
    def importances(self) -> Importances:
        """How much general ability depends on each unit of the untouched model."""
        return Importances(
            self.loaded.model, self.suite.packed, self.suite.neutral.texts, self.prefix_cache.budget
        )


@dataclass(frozen=True)
class Tuned:
    """A trial's record and, where they were asked for, the weights it ended with."""

    record: TrialRecord
    changes: tuple[Change, ...]


def run_trial(context: TrialContext, trial: Trial, before: Evaluation) -> TrialRecord:
    """Runs a trial; the model's weights are back afterwards.

    `before` is the untouched model's evaluation on the edits that are measured.
    """
    return run_keeping(context, trial, before, keep=False).record


def run_keeping(context: TrialContext, trial: Trial, before: Evaluation, *, keep: bool) -> Tuned:
    """Runs a trial and, with `keep`, hands out the tuned weights beside its record."""
    began = time.perf_counter()
    with as_tuned(context, trial) as (masters, epochs):
        now = _evaluated(context, trial)
        changes = masters.changes() if keep else ()
    # Numbers that are stepped, which for lora or lofit are fewer than the weights they change.
    count = sum(value.numel() for value in masters.values)
    cost = trial_cost_of(
        context.suite, context.loaded.info, trial, context.prefix_cache.layer, count
    )
    record = replace(
        _scored(context, trial, now, before),
        status=status_of(trial.recipe, epochs),
        epochs=epochs,
        parameters=tuple(dict.fromkeys(piece.name for piece in masters.slices)),
        parameter_count=count,
        change_norm=masters.change_norm(),
        flops=flops_of(cost, epochs),
        seconds=time.perf_counter() - began,
    )
    return Tuned(record, changes)


@contextmanager
def as_tuned(
    context: TrialContext, trial: Trial
) -> Iterator[tuple[MasterWeights, tuple[Epoch, ...]]]:
    """The model tuned as the trial says; afterwards its weights are back, bit for bit."""
    parts = entered_parts(context, trial)
    # Trials that are reported on are measured whatever becomes of them, so they run to the end.
    gives_up = trial.choosing and not trial.quick
    collapsed = (
        watch(context.suite, context.prefix_cache, context.objective, context.baseline_loss)
        if gives_up
        else never
    )
    rows = tuple(row for questions in context.suite.of(trial.edits) for row in questions.training)
    with temporarily_trainable(
        context.loaded.model, parts, stored_dtype(context.loaded)
    ) as masters:
        tune = order_of(trial.recipe)
        yield (
            masters,
            tune(context.prefix_cache, masters, rows, trial.recipe, trial.seed, collapsed),
        )


def entered_parts(context: TrialContext, trial: Trial) -> tuple[TunedPart, ...]:
    """What the trial tunes; the prefix cache enters the lowest layer of it."""
    model, location = context.loaded.model, Location.parse(trial.location)
    parts = tuned_parts_of(
        RecipeInput(model, location, trial.recipe, trial.seed, context.importances)
    )
    context.prefix_cache.enter(lowest_layer(model, parts))
    return parts


def starting_rate(context: TrialContext, trial: Trial, first_step: float) -> float:
    """The rate at which the trial's first step is predicted to lower the loss so far (nats).

    Raises UsageError where no finite gradient tells one.
    """
    return rate_for(trial.recipe.kind, trial.location, gradient_l1(context, trial), first_step)


def gradient_l1(context: TrialContext, trial: Trial, progress: Progress = _SILENT) -> float:
    """L1 norm of the gradient of the edits' mean loss (nats) to all that the recipe steps.

    Adam's first step moves each of them by the rate, so to first order the rate times this is how
    far the loss falls. Prefixed copies are left out; the model is as before afterwards.
    """
    model, prefix_cache = context.loaded.model, context.prefix_cache
    parts = entered_parts(context, trial)
    rows = [questions.target.index for questions in context.suite.of(trial.edits)]
    with temporarily_trainable(model, parts, stored_dtype(context.loaded)) as masters:
        weights = {piece.name: model.get_parameter(piece.name) for piece in masters.slices}
        gradient = mean_gradient(prefix_cache, rows, weights, progress, "weight gradient")
        masters.pull_back(gradient)
        gradients = [value.grad for value in masters.values if value.grad is not None]
        # In double: millions of float32 terms lose digits that the rate shows.
        return sum(float(gradient.double().abs().sum()) for gradient in gradients)


def stored_dtype(loaded: Loaded) -> torch.dtype:
    """The dtype of the weights on disk, to which tuned weights are rounded."""
    return getattr(torch, loaded.info.stored)


def _scored(
    context: TrialContext, trial: Trial, now: Evaluation, before: Evaluation
) -> TrialRecord:
    """The record as far as the evaluation goes; what tuning did is filled in afterwards."""
    before = before.on(context.suite.texts_for(choosing=trial.choosing))
    before = before.as_quick if trial.quick else before
    measures = measure_all(now, before)
    # The best of many rates lies at a bound, so what is chosen keeps a margin to it.
    objective = context.objective.strict if trial.choosing else context.objective
    scored_by = quick_objective(objective) if trial.quick else objective
    return TrialRecord(
        trial=trial,
        status="",
        score=score(measures, scored_by),
        score_name=score_name(measures, scored_by),
        measures=measures,
        outcomes=outcomes_of(now, before),
        epochs=(),
        parameters=(),
        parameter_count=0,
        change_norm=nan,
        decoded=sum(answer.decoded for answer in now.answers),
        seconds=nan,
        flops=nan,
        violated=violations(measures, objective.bounds),
    )


def _evaluated(context: TrialContext, trial: Trial) -> Evaluation:
    texts = context.suite.texts_for(choosing=trial.choosing)
    if trial.quick:
        return quick_eval(context.suite, context.prefix_cache, trial.measured, texts=texts)
    return observe(
        context.suite, context.prefix_cache, trial.measured, thorough=trial.thorough, texts=texts
    )
