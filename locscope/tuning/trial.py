"""A trial: tune one location, measure the edits and everything else, restore the weights.

And where its learning rate starts: what Adam's first step is predicted to do.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import nan

import torch
from torch import Tensor

from locscope.evaluation.measures.outcomes import outcomes_of
from locscope.evaluation.measuring import measure_all
from locscope.evaluation.suite import Evaluation, observe, quick_eval
from locscope.interp.gradients import mean_gradient
from locscope.models.load import Loaded
from locscope.models.save import Changes
from locscope.models.streaming.blocks import hold, hold_tail
from locscope.progress import Progress, Silent
from locscope.records import Epoch, Trial, TrialRecord
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, Objective, quick_objective, score, score_name
from locscope.tuning.collapse import never, status_of, watch
from locscope.tuning.master_weights import MasterWeights, TunedPart, temporarily_trainable
from locscope.tuning.orders import order_of
from locscope.tuning.recipes import rate_for
from locscope.tuning.trainable import (
    RecipeInput,
    lowest_layer,
    read_weights_of,
    tuned_parts_of,
)
from locscope.tuning.trial_cost import flops_of, trial_cost_of
from locscope.tuning.workspace import Workspace

_SILENT = Silent()


@dataclass(frozen=True)
class Tuned:
    """A trial's record and, where they were asked for, the weights it ended with.

    `stepped` are the tensors that its optimiser stepped, of recipe `lora` A and B of each slice.
    """

    record: TrialRecord
    changes: Changes
    stepped: tuple[Tensor, ...] = ()


def run_trial(
    workspace: Workspace,
    trial: Trial,
    objective: Objective = BALANCED,
    *,
    keep: bool = False,
    measured: bool = True,
) -> Tuned:
    """Tunes one location and measures what became of the edits and of all else, unless it is not to
    be `measured`; the model's weights are back afterwards. With `keep`, the tuned weights are
    handed out beside the record."""
    began = time.perf_counter()
    # First of all: what the untouched model says is read when it is first asked for.
    before = workspace.before.of(trial.measured) if measured else None
    loaded, parts = workspace.loaded, entered_parts(workspace, trial)
    tune = tuner_of(workspace, trial, objective)
    with temporarily_trainable(loaded.model, parts, stored_dtype(loaded)) as masters:
        epochs = tune(masters)
        now = _evaluated(workspace, trial) if measured else None
        changes = masters.changes() if keep else {}
        # Of other recipes they are as large as the weights, and say no more.
        low_rank = keep and trial.recipe.kind == "lora"
        stepped = tuple(value.detach().cpu() for value in masters.values) if low_rank else ()
    # Numbers that are stepped, which for lora or lofit are fewer than the weights they change.
    count = sum(value.numel() for value in masters.values)
    layer = workspace.prefix_cache.layer
    cost = trial_cost_of(workspace.suite, workspace.loaded.info, trial, layer, count)
    both = None if now is None or before is None else (now, before)
    record = replace(
        scored(workspace, trial, *both, objective) if both else _unscored(trial),
        status=status_of(trial.recipe, epochs),
        epochs=epochs,
        parameters=tuple(dict.fromkeys(piece.name for piece in masters.slices)),
        parameter_count=count,
        change_norm=masters.change_norm(),
        flops=flops_of(cost, epochs),
        seconds=time.perf_counter() - began,
    )
    return Tuned(record, changes, stepped)


@contextmanager
def as_tuned(workspace: Workspace, trial: Trial) -> Iterator[tuple[Epoch, ...]]:
    """The model tuned as the trial says; afterwards its weights are back, bit for bit."""
    loaded, parts = workspace.loaded, entered_parts(workspace, trial)
    tune = tuner_of(workspace, trial)
    with temporarily_trainable(loaded.model, parts, stored_dtype(loaded)) as masters:
        yield tune(masters)


def tuner_of(
    workspace: Workspace, trial: Trial, objective: Objective = BALANCED
) -> Callable[[MasterWeights], tuple[Epoch, ...]]:
    """What tunes master weights as the trial says. To be made while the model is untouched: its
    loss then is what a collapse is told by."""
    # Trials that are reported on are measured whatever becomes of them, so they run to the end.
    gives_up = trial.choosing and not trial.quick
    suite, prefix_cache = workspace.suite, workspace.prefix_cache
    return partial(
        order_of(trial.recipe),
        prefix_cache,
        rows=tuple(row for questions in suite.of(trial.edits) for row in questions.training),
        recipe=trial.recipe,
        seed=trial.seed,
        collapsed=watch(suite, prefix_cache, objective, workspace.baseline_loss)
        if gives_up
        else never,
    )


def entered_parts(workspace: Workspace, trial: Trial) -> tuple[TunedPart, ...]:
    """What the trial tunes; the prefix cache enters the lowest layer of it."""
    model, location = workspace.loaded.model, trial.location
    hold(model, "read", read_weights_of(model, location, trial.recipe.kind))
    parts = tuned_parts_of(
        RecipeInput(model, location, trial.recipe, trial.seed, workspace.importances)
    )
    layer = lowest_layer(model, parts)
    hold_tail(model, layer)
    workspace.prefix_cache.enter(layer)
    return parts


def starting_rate(workspace: Workspace, trial: Trial, first_step: float) -> float:
    """The rate at which the trial's first step is predicted to lower the loss so far (nats).

    Raises UsageError where no finite gradient tells one.
    """
    return rate_for(trial.recipe.kind, trial.location, gradient_l1(workspace, trial), first_step)


def gradient_l1(workspace: Workspace, trial: Trial, progress: Progress = _SILENT) -> float:
    """L1 norm of the gradient of the edits' mean loss (nats) to all that the recipe steps.

    Adam's first step moves each of them by the rate, so to first order the rate times this is how
    far the loss falls. Prefixed copies are left out; the model is as before afterwards.
    """
    model, prefix_cache = workspace.loaded.model, workspace.prefix_cache
    parts = entered_parts(workspace, trial)
    rows = [questions.target.index for questions in workspace.suite.of(trial.edits)]
    with temporarily_trainable(model, parts, stored_dtype(workspace.loaded)) as masters:
        weights = {piece.name: model.get_parameter(piece.name) for piece in masters.slices}
        gradient = mean_gradient(prefix_cache, rows, weights, progress, "weight gradient")
        masters.pull_back(gradient)
        gradients = [value.grad for value in masters.values if value.grad is not None]
        # In double: millions of float32 terms lose digits that the rate shows.
        return sum(float(gradient.double().abs().sum()) for gradient in gradients)


def stored_dtype(loaded: Loaded) -> torch.dtype:
    """The dtype of the weights on disk, to which tuned weights are rounded."""
    return getattr(torch, loaded.info.stored)


def _unscored(trial: Trial) -> TrialRecord:
    """The record of a trial of which nothing is measured."""
    return TrialRecord(
        trial=trial,
        status="",
        score=nan,
        score_name="not measured",
        measures=(),
        outcomes=(),
        epochs=(),
        parameters=(),
        parameter_count=0,
        change_norm=nan,
        decoded=0,
        seconds=nan,
        flops=nan,
    )


def scored(
    workspace: Workspace, trial: Trial, now: Evaluation, before: Evaluation, objective: Objective
) -> TrialRecord:
    """The record of a trial as far as its evaluation goes; what tuning did is filled in
    afterwards."""
    before = before.on(workspace.suite.texts_for(choosing=trial.choosing))
    # Like is compared with like: a quick evaluation asks less, and reads fewer texts.
    before = before.as_quick if trial.quick else before
    measures = measure_all(now, before)
    # The best of many rates lies at a bound, so what is chosen keeps a margin to it.
    objective = objective.strict if trial.choosing else objective
    scored_by = quick_objective(objective) if trial.quick else objective
    return replace(
        _unscored(trial),
        score=score(measures, scored_by),
        score_name=score_name(measures, scored_by),
        measures=measures,
        outcomes=outcomes_of(now, before),
        decoded=sum(answer.decoded for answer in now.answers),
        violated=violations(measures, objective.bounds),
    )


def _evaluated(workspace: Workspace, trial: Trial) -> Evaluation:
    texts = workspace.suite.texts_for(choosing=trial.choosing)
    if trial.quick:
        return quick_eval(workspace.suite, workspace.prefix_cache, trial.measured, texts=texts)
    return observe(
        workspace.suite,
        workspace.prefix_cache,
        trial.measured,
        thorough=trial.thorough,
        texts=texts,
    )
