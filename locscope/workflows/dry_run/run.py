"""`search --dry-run`: what a search will take here, from its own plan and a short calibration.

The model is loaded and asked as at the beginning of the search, and single steps are timed; nothing
is written.
"""

import heapq
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import torch

from locscope.execution.teams import worker_bytes
from locscope.models.load import Loaded
from locscope.models.streaming.blocks import held_from
from locscope.models.streaming.way import MEMORY, in_words
from locscope.progress import Progress, stage
from locscope.records import Trial
from locscope.records.codec import Number
from locscope.report.data.words import duration
from locscope.scans import SCANS, is_cheap
from locscope.scans.cost import passes
from locscope.scans.run import seconds_of_a_pass, sizes_of
from locscope.selection.space import Space
from locscope.tuning.protocols import PROTOCOLS
from locscope.tuning.workspace import trial_threads
from locscope.workflows.check import Line
from locscope.workflows.dry_run.memory import added_by_a_search, memory_of, scan_batches
from locscope.workflows.dry_run.simulated import CostForecast, made_up_gradient, simulate
from locscope.workflows.dry_run.timing import (
    Timing,
    calibrate,
    gradient_seconds,
    work_on_paper,
)
from locscope.workflows.search import edit_counts as counting
from locscope.workflows.search.comparisons import PROTOCOLS_STAGE
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.select import SCAN, scan_context, space_of

GIB, MIB = 1 << 30, 1 << 20
PAGE_BYTES = 7 * MIB
"""The report with its figures and tables, nearly all of it the drawing library."""
VALUE_BYTES = 22
"""Of a number of a record: the gradient's has one for every edit and part of a layer."""
SCAN_BYTES = 20_000
"""Of the record of one more scan, for every ten layers."""
ASSUMED = (
    "every trial goes through all its epochs",
    "a bound on perplexity cuts locations off a little below the rates first tried, and no other "
    "bound does: else there are some more or fewer full trials",
    "of the answers it is those of the neighbours that have to be decoded",
    "the folder is empty: what is there already is not run again",
    "the scorecard and the report are not in the time",
)


@dataclass(frozen=True)
class DryRun:
    """What a search will take. `kinds` counts candidates by part and number of layers.

    `runs` says which way the model runs: in memory, or streamed.
    `memory` says what it is made of (bytes), counted from shapes. `host_peak` and `device_peak` are
    the most that is held (bytes; the device's NaN where it is the host): what this process had
    while it calibrated, or had before and trials and scans add. `opening` and `calibration` are
    seconds that were spent here; `seconds`, `flops` and `trials` are those of all stages together,
    without the operations of scans. Trials run side by side in so many `workers`.
    """

    kinds: dict[str, int]
    stages: tuple[CostForecast, ...]
    memory: dict[str, int]
    host_peak: int
    device_peak: Number
    disk: int
    opening: Number
    calibration: float
    seconds: float
    flops: float
    trials: int
    workers: int = 1
    runs: str = MEMORY
    assumed: tuple[str, ...] = ASSUMED

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of it in words."""
        return tuple(_lines(self))


def dry_run(plan: Plan, progress: Progress, opening: float = nan) -> DryRun:
    """Plays a search through on paper and times single steps; `opening` is passed on."""
    runner = LocalTrialRunner(plan, plan.folder / "none", progress)
    # Before calibrating: what a search holds is added to this.
    host, device = _host_peak(), _device_peak(plan.loaded)
    with stage(progress, "calibrating", 2):
        began = time.perf_counter()
        # Made up: rates on paper only tell steps apart, and a gradient takes minutes.
        found = made_up_gradient(plan.loaded.info, plan.chosen)
        space = space_of(runner, (found,), lambda _: 1.0)
        with trial_threads(plan.loaded.model.device):
            timing = calibrate(runner, space)
        progress.advance("steps")
        scans = _scans(runner, timing)
        progress.advance("gradients")
        took = time.perf_counter() - began
    workspace, asking = runner.workspace, plan.settings
    asked = simulate(plan, space, (found,), lambda trial: timing.cost(workspace, space, trial))
    stages = (*scans, *_stages(runner, space, timing, asked))
    filled = scan_batches(workspace, asking.scans)
    memory = memory_of(workspace, space, asking.recipes, asking.batch_size)
    more = added_by_a_search(memory, filled)
    if runner.workers > 1:
        others = runner.workers * worker_bytes(workspace)
        memory, more = {**memory, "worker processes": others}, more + others
    return DryRun(
        kinds=_kinds(space),
        stages=stages,
        memory={**memory, "batches of scans": filled},
        host_peak=max(_host_peak(), host + (more if isnan(device) else 0)),
        device_peak=max(_device_peak(plan.loaded), device + more),
        disk=_disk(plan, timing, asked),
        opening=opening,
        calibration=took,
        seconds=sum(stage_cost.seconds for stage_cost in stages),
        flops=sum(stage_cost.flops for stage_cost in stages if not isnan(stage_cost.flops)),
        trials=sum(map(len, asked.values())),
        workers=runner.workers,
        runs=in_words(
            plan.loaded.model,
            plan.loaded.model.dtype.itemsize,
            {candidate.location.lowest for candidate in space.candidates},
            held_from(plan.loaded.model),
        ),
    )


def _scans(runner: LocalTrialRunner, timing: Timing) -> list[CostForecast]:
    """A stage a scan: the weight gradient's from one edit's, others from their passes."""
    context = scan_context(runner)
    a_pass, sizes = seconds_of_a_pass(context), sizes_of(context)
    stages = []
    for name in dict.fromkeys((SCAN, *runner.plan.settings.scans)):
        edits = (context if is_cheap(name) else context.narrowed).edits
        seconds = passes(SCANS[name].passes, sizes) * len(edits) * a_pass
        if name == SCAN:
            seconds = gradient_seconds(runner.workspace, edits, timing)
        stages.append(CostForecast(f"scan {name}", 1, nan, seconds))
    return stages


def _stages(
    runner: LocalTrialRunner, space: Space, timing: Timing, asked: Mapping[str, Sequence[Trial]]
) -> list[CostForecast]:
    layer, stages = 0, []
    for name, trials in asked.items():
        costs = [timing.cost(runner.workspace, space, trial) for trial in trials]
        # Those under other protocols share suites, and run in one process.
        workers = 1 if name == PROTOCOLS_STAGE else runner.workers
        seconds = side_by_side([cost.seconds for cost in costs], workers)
        # Each worker moves its own through all layers.
        seconds += timing.prefix_cache_seconds(trials, layer)
        seconds += _suites(runner, space, timing, name, trials)
        flops = sum(cost.flops for cost in costs)
        stages.append(CostForecast(name, len(trials), flops, seconds))
        layer = trials[-1].location.lowest if trials else layer
    return stages


def side_by_side(seconds: Sequence[float], workers: int) -> float:
    """What work takes of which the next is begun by whoever is free, in this order."""
    free = [0.0] * workers
    for took in seconds:
        heapq.heapreplace(free, free[0] + took)
    return max(free)


def _suites(
    runner: LocalTrialRunner, space: Space, timing: Timing, name: str, trials: Sequence[Trial]
) -> float:
    """Seconds of the evaluation suites that a stage writes and asks besides the search's."""
    workspace = runner.workspace
    sat = [work_on_paper(workspace, space, trial) for trial in trials]
    if name == PROTOCOLS_STAGE:
        # Each is asked of the untouched model, when it is written and after, and of each location.
        return len(PROTOCOLS) * (2 + len(sat)) * max(map(timing.asking, sat))
    plan = runner.plan
    if name != counting.STAGE:
        return 0.0
    same = counting.edits_on_curve(counting.drawn_edits(plan), plan) == plan.edit_set.edits
    return 0.0 if same else 2 * max(map(timing.asking, sat))


def _kinds(space: Space) -> dict[str, int]:
    """How many candidates there are of each part and number of layers."""
    found = Counter[str]()
    for candidate in space.candidates:
        sites = candidate.location.sites
        layers = sum(site.last - site.first + 1 for site in sites)
        found[candidate.part if layers == 1 else f"{candidate.part} of {layers} layers"] += 1
    return dict(found)


def _host_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device_peak(loaded: Loaded) -> float:
    if loaded.model.device.type != "cuda":
        return nan
    return float(torch.cuda.max_memory_allocated(loaded.model.device))


def _disk(plan: Plan, timing: Timing, asked: Mapping[str, Sequence[Trial]]) -> int:
    """Bytes of records and of the page; figures of the gradient's record grow with its edits."""
    trials = [trial for some in asked.values() for trial in some]
    records = sum(
        len(trial.edits) * (timing.quick_bytes if trial.quick else timing.full_bytes)
        for trial in trials
    )
    gradient = VALUE_BYTES * len(plan.chosen) * len(plan.loaded.info.grid)
    others = len(plan.settings.scans) * SCAN_BYTES * plan.loaded.info.layers / 10
    return int(records + gradient + others) + PAGE_BYTES


def _lines(found: DryRun) -> list[Line]:
    counts = ", ".join(f"{kind} {count}" for kind, count in found.kinds.items())
    shares = ", ".join(f"{name} {_size(count)}" for name, count in found.memory.items())
    device = "" if isnan(found.device_peak) else f", device {_size(found.device_peak)}"
    return [
        Line("candidates", f"{sum(found.kinds.values())}: {counts}"),
        Line("trials", str(found.trials)),
        *(Line(stage_cost.stage, _in_words(stage_cost)) for stage_cost in found.stages),
        Line("operations", f"{found.flops:.1e} in floating point"),
        Line("runs", found.runs),
        Line("memory", f"host {_size(found.host_peak)}{device} at most"),
        Line("of which", f"{shares} (counted)"),
        Line("disk", _size(found.disk)),
        Line("time", f"about {duration(found.seconds)}{_after(found)}"),
        *(Line("assumed", words) for words in found.assumed),
    ]


def _after(found: DryRun) -> str:
    opening = "" if isnan(found.opening) else f", after {duration(found.opening)} to begin"
    beside = f", trials in {found.workers} processes" if found.workers > 1 else ""
    return f"{opening}{beside} (calibrated in {duration(found.calibration)})"


def _in_words(cost: CostForecast) -> str:
    if isnan(cost.flops):
        return f"about {duration(cost.seconds)}"
    return f"{cost.tasks} trials, {cost.flops:.1e} operations, {duration(cost.seconds)}"


def _size(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"
