"""How long trials take here: single steps are timed, and the time of any is a sum of its work.

Seconds are taken as a sum, with factors that are not negative, of what a trial does: once itself,
optimiser steps, their operations, weights updated, operations of reading, answers decoded. No trial
is run: a step at either end of the model, a pass over some texts and some decoding tell all of
them. Nothing is written, and the model's weights are as before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LinearRegression

from locscope.evaluation.drift import drift
from locscope.evaluation.exact_match import read
from locscope.evaluation.suite import EditQuestions
from locscope.forward.decoding import SPAN_TOKENS, Request, decode
from locscope.forward.packed import picked
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.gradients import requiring_grad, summed_gradient, weights_of
from locscope.models.parts import slices
from locscope.models.streaming.blocks import streaming_of
from locscope.records import Trial, TrialRecord, default_batch, dumps
from locscope.selection.candidates import Candidate
from locscope.selection.space import FULL, Fidelity, Space, TrialRequest
from locscope.tuning.breadth_first import batch_gradient
from locscope.tuning.master_weights import temporarily_trainable
from locscope.tuning.recipes import TUNES_ALL_BLOCKS
from locscope.tuning.trial import scored, stored_dtype
from locscope.tuning.trial_cost import (
    TrialCost,
    blocks_of,
    forward_flops,
    step_flops,
    trial_cost_of,
)
from locscope.tuning.workspace import Workspace
from locscope.workflows.dry_run.simulated import CostForecast
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.stages import trial_of

SAMPLED = 8
"""Edits, and neutral texts, on which reading and decoding are timed."""


@dataclass(frozen=True)
class Timing:
    """What was measured: seconds for a unit of each kind of work, and to take the prefix cache a
    layer up.

    `quick_bytes` and `full_bytes` are sizes of records for each edit; `took` is in seconds.
    """

    rates: TrialCost
    prefix_cache_layer: float
    quick_bytes: float
    full_bytes: float
    took: float

    def seconds(self, work: TrialCost) -> float:
        """What a trial takes that finds the prefix cache where it wants it."""
        return float(np.dot(astuple(self.rates), astuple(work)))

    def asking(self, work: TrialCost) -> float:
        """What of it goes into asking the evaluation suite."""
        return self.seconds(replace(work, trials=0.0, steps=0.0, tuning_flops=0.0, updates=0.0))

    def cost(self, workspace: Workspace, space: Space, trial: Trial) -> CostForecast:
        """What a trial takes if it goes through all its epochs."""
        work = work_on_paper(workspace, space, trial)
        flops = work.tuning_flops + work.reading_flops
        return CostForecast(trial.rung, 1, flops, self.seconds(work))

    def prefix_cache_seconds(self, trials: Sequence[Trial], layer: int = 0) -> float:
        """What the prefix cache takes to follow trials in this order, from the given layer on."""
        total = 0
        for trial in trials:
            lowest = trial.location.lowest
            total += lowest - layer if lowest >= layer else lowest
            layer = lowest
        return total * self.prefix_cache_layer


def work_on_paper(workspace: Workspace, space: Space, trial: Trial) -> TrialCost:
    """What the trial does, told by its location and recipe without asking the model."""
    info, kind = workspace.loaded.info, trial.recipe.kind
    lowest = 0 if kind in TUNES_ALL_BLOCKS else trial.location.lowest
    parameters = blocks_of(info) if kind == "all" else space.of(trial.location).parameters
    return trial_cost_of(workspace.suite, info, trial, lowest, parameters)


def calibrate(runner: LocalTrialRunner, space: Space) -> Timing:
    """Times single steps at the ends of the model, a pass over some texts and some decoding."""
    began, workspace = time.perf_counter(), runner.workspace
    workspace.prefix_cache.enter(0)
    edits = workspace.suite.of(runner.plan.chosen)[:SAMPLED]
    rows = _steps_rows(runner)
    cache = PrefixCache(
        workspace.loaded.model,
        picked(workspace.suite.packed, rows),
        workspace.prefix_cache.budget,
        workspace.prefix_cache.tokens_at_once,
    )
    low, large, high = _ends(space)
    timed = [_a_step(runner, cache, at, len(rows)) for at in (low, large)]
    moved = _seconds(lambda: cache.enter(_lowest(high)))
    timed += [_a_step(runner, cache, high, len(rows))]
    tokens = workspace.suite.packed.ids.numel() / cache.packed.ids.numel()
    _, quick_bytes = _measuring(runner, low, quick=True)
    measuring, full_bytes = _measuring(runner, low, quick=False)
    return Timing(
        rates=replace(
            _fitted(timed),
            trials=measuring,
            reading_flops=_reading(workspace, edits),
            answers=_decoding(workspace, edits),
        ),
        prefix_cache_layer=moved * tokens / max(1, _lowest(high)),
        quick_bytes=quick_bytes,
        full_bytes=full_bytes,
        took=time.perf_counter() - began,
    )


def gradient_seconds(workspace: Workspace, edits: Sequence[str], timing: Timing) -> float:
    """What the weight gradient takes: every edit alone, and the neutral texts together."""
    info, suite = workspace.loaded.info, workspace.suite
    row = suite.of(edits)[0].target.index
    # Of half of the layers: the gradients of all weights at once are the most that a search holds.
    # Of a streamed model one layer: there are not more than a few on the device.
    streamed, middle = streaming_of(workspace.loaded.model) is not None, info.layers // 2
    weights = weights_of(
        workspace.loaded.model, range(middle, middle + 1 if streamed else info.layers)
    )
    workspace.prefix_cache.enter(0)
    with requiring_grad(weights):
        half = _seconds(lambda: summed_gradient(workspace.prefix_cache, [row], weights))
    tokens = int(suite.packed.lengths[list(suite.neutral.texts)].sum())
    neutral = step_flops(info, tokens, tokens, 0) * timing.rates.tuning_flops
    return (info.layers if streamed else 2) * half * len(edits) + neutral


def _steps_rows(runner: LocalTrialRunner) -> list[int]:
    """The rows of a trial's first batch."""
    plan = runner.plan
    count = plan.settings.batch_size or default_batch(len(plan.chosen))
    rows = [row for questions in plan.workspace.suite.of(plan.chosen) for row in questions.training]
    return rows[:count]


def _ends(space: Space) -> tuple[Candidate, Candidate, Candidate]:
    """The smallest and the largest location of a single layer at the bottom, the smallest at the
    top: more layers would only take more memory."""
    alone = [candidate for candidate in space.candidates if candidate.layer >= 0] or list(
        space.candidates
    )
    low, high = min(map(_lowest, alone)), max(map(_lowest, alone))
    below = sorted((candidate for candidate in alone if _lowest(candidate) == low), key=_size)
    above = min((candidate for candidate in alone if _lowest(candidate) == high), key=_size)
    return below[0], below[-1], above


def _a_step(
    runner: LocalTrialRunner, cache: PrefixCache, at: Candidate, rows: int
) -> tuple[TrialCost, float]:
    """The work of an optimiser step at a location, and its seconds."""
    loaded, lengths, answers = runner.workspace.loaded, cache.packed.lengths, cache.packed.answers
    parts = slices(loaded.model, at.location)
    with temporarily_trainable(loaded.model, parts, stored_dtype(loaded)) as masters:
        # A rate of 0 takes as long and leaves the weights as they are.
        adam = torch.optim.Adam(masters.values, lr=0.0)

        def step() -> None:
            batch_gradient(cache, masters, range(rows), 0.0)
            adam.step()
            masters.write_back()

        seconds = _seconds(step)
    tokens, scored = int(lengths.sum()), int((lengths - answers + 1).sum())
    flops = step_flops(loaded.info, tokens, scored, _lowest(at))
    return TrialCost(0.0, 1.0, flops, float(at.parameters), 0.0, 0.0), seconds


def _reading(workspace: Workspace, edits: Sequence[EditQuestions]) -> float:
    """Seconds for an operation of reading answers and neutral texts."""
    suite, cache, info = workspace.suite, workspace.prefix_cache, workspace.loaded.info
    neutral = suite.neutral.first(SAMPLED)
    asked = [q.index for edit in edits for q in (edit.target, *edit.rephrases, *edit.neighbours)]
    seconds = _seconds(lambda: (read(cache, asked), drift(cache, neutral)))
    lengths, answers = suite.packed.lengths, suite.packed.answers
    others = int(lengths[list(neutral.texts)].sum())
    scored = int((lengths[asked] - answers[asked] + 1).sum()) + others
    return seconds / forward_flops(info, int(lengths[asked].sum()) + others, scored)


def _decoding(workspace: Workspace, edits: Sequence[EditQuestions]) -> float:
    """Seconds for an answer, where neighbours are decoded and a pass tells all others: a target
    that is not given is seen in its first tokens."""
    neighbours = [q for edit in edits for q in edit.neighbours]
    count = sum(1 + len(edit.rephrases) + len(edit.neighbours) for edit in edits)
    if not neighbours:
        return 0.0
    requests = [Request(q.prompt, SPAN_TOKENS) for q in neighbours]
    most = workspace.prefix_cache.tokens_at_once
    return _seconds(lambda: decode(workspace.suite.text_generator, requests, most)) / count


def _measuring(runner: LocalTrialRunner, at: Candidate, *, quick: bool) -> tuple[float, float]:
    """Seconds to make the measures of a trial on S, and bytes of its record for each edit."""
    workspace, count = runner.workspace, len(runner.plan.chosen)
    trial = trial_of(
        runner.plan, TrialRequest(at.location, at.lr, Fidelity(FULL, count, 1, quick=quick))
    )
    # As if tuning had changed nothing.
    before = workspace.before.of(trial.measured)
    now = before.on(workspace.suite.texts_for(choosing=True))
    now = now.as_quick if quick else now
    records: list[TrialRecord] = []
    seconds = _seconds(
        lambda: records.append(scored(workspace, trial, now, before, runner.objective)), times=1
    )
    return seconds, len(dumps(records[0]).encode()) / len(trial.edits)


def _fitted(timed: Sequence[tuple[TrialCost, float]]) -> TrialCost:
    """Least squares of the relative error of steps: once each, by operations, by weights."""
    seconds = np.array([took for _, took in timed])
    table = np.array([astuple(work) for work, _ in timed]) / seconds[:, None]
    # To one scale: operations are many orders of magnitude more than steps.
    scale = np.maximum(table.max(0), 1e-300)
    model = LinearRegression(positive=True, fit_intercept=False)
    found = model.fit(table / scale, np.ones(len(timed))).coef_ / scale
    # What no step does has no rate of its own here.
    return TrialCost(*map(float, np.where(table.max(0) > 0, found, 0.0)))


def _seconds(run: Callable[[], object], times: int = 2) -> float:
    """The least of some runs: the first may have memory to allocate."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return min(took)


def _size(candidate: Candidate) -> int:
    return candidate.parameters


def _lowest(candidate: Candidate) -> int:
    return candidate.location.lowest
