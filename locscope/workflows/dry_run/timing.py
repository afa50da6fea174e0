"""How long trials take here: a few short ones are run, and the time of any is a sum of its work.

Seconds are taken as a sum, with factors that are not negative, of what a trial does: once itself,
optimiser steps, their operations, weights updated, operations of reading, answers decoded. Nothing
is written.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from sklearn.linear_model import LinearRegression

from locscope.execution.local import run_trials
from locscope.progress import Silent
from locscope.records import Trial, TrialRecord, dumps
from locscope.selection.candidates import Candidate
from locscope.selection.space import Space, TrialRequest
from locscope.selection.strategies.race import first_rung
from locscope.tuning.recipes import TUNES_ALL_BLOCKS
from locscope.tuning.trial_cost import TrialCost, blocks_of, trial_cost_of
from locscope.tuning.workspace import Workspace
from locscope.workflows.dry_run.simulated import CostForecast
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.stages import trial_of

EPOCHS = (1, 5)
"""Of the trials that are run: two, so that measuring can be told from tuning."""


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
    """Runs short trials at the ends of the model, and takes the seconds apart."""
    began, workspace = time.perf_counter(), runner.workspace
    trials = _tried(runner, space)
    workspace.prefix_cache.enter(0)
    _run(runner, trials[0])
    ends = [trial.location.lowest for trial in trials]
    records = [_run(runner, trial) for trial in trials if _low(trial) == min(ends)]
    moved = time.perf_counter()
    workspace.prefix_cache.enter(max(ends))
    moved = time.perf_counter() - moved
    records += [_run(runner, trial) for trial in trials if _low(trial) > min(ends)]
    return Timing(
        rates=_fitted(workspace, space, records),
        prefix_cache_layer=moved / max(1, max(ends) - min(ends)),
        quick_bytes=_size([one for one in records if one.trial.quick]),
        full_bytes=_size([one for one in records if not one.trial.quick]),
        took=time.perf_counter() - began,
    )


def _tried(runner: LocalTrialRunner, space: Space) -> list[Trial]:
    """Quick evaluations and full trials with few epochs: low at the smallest and largest location,
    and high."""
    low = min(map(_lowest, space.candidates))
    high = max(map(_lowest, space.candidates))
    below = sorted(_at(space, low), key=lambda one: one.parameters)
    above = sorted(_at(space, high), key=lambda one: one.parameters)
    locations = dict.fromkeys((below[0], below[-1], above[0]))
    fidelities = (first_rung(space)[0].fidelity, space.full)
    return [
        trial_of(runner.plan, TrialRequest(at.location, at.lr, replace(fidelity, epochs=epochs)))
        for at in locations
        for fidelity in fidelities
        for epochs in EPOCHS
    ]


def _run(runner: LocalTrialRunner, trial: Trial) -> TrialRecord:
    """As a search runs it, within memory; nothing is kept."""
    records: list[TrialRecord] = []
    run_trials(runner.workspace, "", [trial], records.append, Silent())
    return records[0]


def _fitted(workspace: Workspace, space: Space, records: Sequence[TrialRecord]) -> TrialCost:
    """Least squares of the relative error, so that short trials count as much as long ones."""
    work = [work_on_paper(workspace, space, one.trial) for one in records]
    seconds = np.array([one.seconds for one in records])
    table = np.array([astuple(one) for one in work]) / seconds[:, None]
    scale = np.maximum(table.max(0), 1e-300)
    model = LinearRegression(positive=True, fit_intercept=False)
    found = model.fit(table / scale, np.ones(len(records))).coef_ / scale
    return TrialCost(*map(float, found))


def _size(records: Sequence[TrialRecord]) -> float:
    """Bytes of a record for each of its edits."""
    sizes = [len(dumps(one).encode()) / len(one.trial.edits) for one in records]
    return float(np.mean(sizes))


def _at(space: Space, layer: int) -> list[Candidate]:
    return [one for one in space.candidates if _lowest(one) == layer]


def _lowest(one: Candidate) -> int:
    return one.location.lowest


def _low(trial: Trial) -> int:
    return trial.location.lowest
