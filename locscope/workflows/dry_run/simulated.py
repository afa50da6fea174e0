"""A search on paper: which trials it would ask for, stage by stage, with made-up records.

The stages are those of the search itself; only who answers them differs. The made-up world is a
plain one: every location would be best at the rate first tried there, and what bounds there are on
perplexity cut it off a little below, and lower on more edits than S has; other bounds are kept.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, log
from typing import final

from locscope.locations import Location
from locscope.recommendation.finalists import Finalist
from locscope.recommendation.looser_bounds import judged
from locscope.records import (
    Descriptor,
    Edit,
    Epoch,
    Measure,
    ModelInfo,
    ProtocolResults,
    ScanResult,
    ScanScore,
    Trial,
    TrialRecord,
)
from locscope.records.codec import Number
from locscope.scoring.bounds import Bound, ratio_limit, violations
from locscope.scoring.objectives import QUICK, Objective
from locscope.selection.candidates import STEP
from locscope.selection.space import Space
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.run import ADDING, RECOMMENDING
from locscope.workflows.search.stages import Evidence

SHARES = (*QUICK, *QUICK.values())
RATIO, DRIFT = 1.001, 0.001
"""Of perplexity and in nats: far within every bound."""
BEYOND = 1.3
"""Nats at the rate first tried, over what a bound on perplexity allows."""


@dataclass(frozen=True)
class CostForecast:
    """What a stage (or rung) with so many trials or scans will take: floating-point operations, and
    seconds, for one trial without moving the prefix cache."""

    stage: str
    tasks: int
    flops: Number
    seconds: float


@final
class SimulatedRunner:
    """Answers trials by `cost`, each once; `asked` are the trials that would run, by stage.

    They lie in the order in which they would run: by layer, for the prefix cache's sake.
    """

    def __init__(self, plan: Plan, space: Space, cost: Callable[[Trial], CostForecast]) -> None:
        self.plan, self.space, self.cost = plan, space, cost
        self.objective: Objective = plan.objective
        self.asked: dict[str, list[Trial]] = {}
        self._known: dict[str, TrialRecord] = {}
        self._first_rates: dict[tuple[Location, str], float] = {}

    def trials(
        self, stage: str, trials: Sequence[Trial], edits: Sequence[Edit] | None = None
    ) -> tuple[TrialRecord, ...]:
        """Made-up records of the trials, in their order."""
        del edits  # Made-up answers are the same for every evaluation suite.
        once = {trial.id: trial for trial in trials if trial.id not in self._known}
        self._known |= {key: self._record(trial) for key, trial in once.items()}
        ordered = sorted(once.values(), key=lambda trial: trial.location.lowest)
        self.asked.setdefault(stage, []).extend(ordered)
        # As in a search: a stage may have replaced the bounds since the trial was answered.
        return tuple(judged(self._known[trial.id], self.objective) for trial in trials)

    def protocols(self, stage: str, wanted: Sequence[Finalist]) -> tuple[ProtocolResults, ...]:
        """No results; each is tuned once more as in its first trial on T."""
        first = [contender.on_t[0].trial for contender in wanted]
        self.trials(stage, [replace(trial, rung="panel") for trial in first])
        return ()

    def starting_rate(self, trial: Trial) -> float:
        """The rate that the trial has: no gradient is taken."""
        return trial.recipe.lr

    def _record(self, trial: Trial) -> TrialRecord:
        kind = (trial.location, trial.recipe.kind)
        cost, first = self.cost(trial), self._first_rates.setdefault(kind, trial.recipe.lr)
        utility, bounds = _utility(trial, first), self.plan.objective.bounds
        measures = [Measure(name, _keeping(name, utility, bounds), 1, "made up") for name in SHARES]
        measures += [Measure("perplexity_ratio", self._ratio(trial, first), 1, "made up")]
        measures += [Measure("kl", DRIFT, 1, "made up"), Measure("retention", 1.0, 1, "made up")]
        return TrialRecord(
            trial=trial,
            status="done",
            score=utility,
            score_name="made up",
            measures=tuple(measures),
            outcomes=(),
            epochs=(Epoch(0.0, 1, 0),) * trial.recipe.epochs,
            parameters=(),
            parameter_count=self.space.of(trial.location).parameters,
            change_norm=0.0,
            decoded=0,
            seconds=cost.seconds,
            flops=cost.flops,
            violated=() if trial.quick else violations(measures, bounds),
        )

    def _ratio(self, trial: Trial, first: float) -> float:
        limit = ratio_limit(self.space.objective.bounds)
        if trial.quick or not 1 < limit < inf:
            return RATIO
        # More edits at once lose more, nats about as many times (`reports/LOG.md`): recipes are
        # fitted anew to all that will be made.
        more = max(1.0, len(trial.edits) / self.space.edits)
        return limit ** (BEYOND * more * (trial.recipe.lr / first) ** 0.9)


def simulate(
    plan: Plan, space: Space, scans: Sequence[ScanResult], cost: Callable[[Trial], CostForecast]
) -> dict[str, list[Trial]]:
    """The trials of a search by stage, in the order in which they would run; nothing is run."""
    runner, evidence = SimulatedRunner(plan, space, cost), Evidence(space, tuple(scans))
    for stage in (*RECOMMENDING, *ADDING):
        evidence = stage(runner, evidence)
    return runner.asked


def _keeping(name: str, value: float, bounds: Sequence[Bound]) -> float:
    """The value, or the nearest to it that the bounds on that measure allow."""
    for bound in bounds:
        if bound.measure == name:
            value = (min if bound.side == "at most" else max)(value, bound.limit)
    return value


def made_up_gradient(info: ModelInfo, edits: Sequence[str]) -> ScanResult:
    """A weight gradient that is the same everywhere: rates on paper only tell steps apart."""
    scores = tuple(ScanScore("l1", cell.layer, cell.part, 1.0) for cell in info.grid)
    about = Descriptor("weight-gradient", "made up", "made up", "made up", "")
    return ScanResult(about, scores, len(edits), len(edits), 0, 0.0, edits=tuple(edits))


def _utility(trial: Trial, first: float) -> float:
    """From 0 to 1: drawn for the location, less away from the rate that was tried first there."""
    steps = abs(log(trial.recipe.lr / first, STEP))
    return max(0.1, random.Random(str(trial.location)).uniform(0.4, 0.9) - 0.1 * steps)
