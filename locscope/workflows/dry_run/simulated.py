"""A search on paper: which trials it would ask for, stage by stage, with made-up records.

The stages are those of the search itself; only who answers them differs. The made-up world is a
plain one: every location would be best at the rate first tried there, and what bounds there are on
perplexity cut it off a little below, and lower on more edits than S has; other bounds are kept.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, log

from locscope.locations import Location
from locscope.records import Epoch, Measure, Trial, TrialRecord
from locscope.scoring.bounds import COLLAPSE, ratio_limit, violations
from locscope.scoring.objectives import QUICK
from locscope.selection.candidates import STEP
from locscope.selection.space import Space
from locscope.workflows.search import edit_counts as counting
from locscope.workflows.search import protocols as panel
from locscope.workflows.search.audit import audit_asks
from locscope.workflows.search.fit import deploy
from locscope.workflows.search.holdout import report_on_t
from locscope.workflows.search.recipes import compare_recipes
from locscope.workflows.search.select import choose, controls_of, ranking
from locscope.workflows.search.trial_runner import TrialRunner
from locscope.workflows.search.validate import validate

SHARES = (*QUICK, *QUICK.values())
RATIO, DRIFT = 1.001, 0.001
"""Of perplexity and in nats: far within every bound."""
BEYOND = 1.3
"""Nats at the rate first tried, over what a bound on perplexity allows."""


@dataclass(frozen=True)
class Cost:
    """What a trial takes: seconds without moving the prefix cache, floating-point operations."""

    seconds: float
    flops: float


@dataclass
class SimulatedRunner:
    """Answers trials by `cost`, each once; `asked` are the trials that would run, by stage.

    They lie in the order in which they would run: by layer, for the prefix cache's sake. `started`
    are the rates first tried, by location and recipe.
    """

    space: Space
    cost: Callable[[Trial], Cost]
    asked: dict[str, list[Trial]] = field(default_factory=dict)
    known: dict[str, TrialRecord] = field(default_factory=dict)
    started: dict[tuple[str, str], float] = field(default_factory=dict)

    def trials(self, stage: str, trials: Sequence[Trial]) -> tuple[TrialRecord, ...]:
        """Made-up records of the trials, in their order."""
        once = {trial.id: trial for trial in trials if trial.id not in self.known}
        self.known |= {key: self._record(trial) for key, trial in once.items()}
        ordered = sorted(once.values(), key=lambda one: Location.parse(one.location).lowest)
        self.asked.setdefault(stage, []).extend(ordered)
        return tuple(self.known[trial.id] for trial in trials)

    def _record(self, trial: Trial) -> TrialRecord:
        kind = (trial.location, trial.recipe.kind)
        cost, first = self.cost(trial), self.started.setdefault(kind, trial.recipe.lr)
        utility = _utility(trial, first)
        found = [Measure(name, utility, 1, "made up") for name in SHARES]
        found += [Measure("perplexity_ratio", self._ratio(trial, first), 1, "made up")]
        found += [Measure("kl", DRIFT, 1, "made up"), Measure("retention", 1.0, 1, "made up")]
        bounds = [one for one in self.space.objective.bounds if one.measure in COLLAPSE]
        return TrialRecord(
            trial=trial,
            status="done",
            score=utility,
            score_name="made up",
            measures=tuple(found),
            outcomes=(),
            epochs=(Epoch(0.0, 1, 0),) * trial.recipe.epochs,
            parameters=(),
            parameter_count=self.space.of(trial.location).parameters,
            change_norm=0.0,
            decoded=0,
            seconds=cost.seconds,
            flops=cost.flops,
            violated=() if trial.quick else violations(found, bounds),
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
    runner: TrialRunner, space: Space, cost: Callable[[Trial], Cost]
) -> dict[str, list[Trial]]:
    """The trials of a search by stage, in the order in which they would run; nothing is run."""
    paper = SimulatedRunner(space, cost)
    runner = TrialRunner(runner.plan, runner.folder, runner.progress, answer=paper.trials)
    selected = choose(runner, space, runner.plan.settings.strategy)
    locations = ranking(space, selected)
    controls = controls_of(runner, space, selected)
    choice = deploy(runner, validate(runner, locations)).choice
    evidence = report_on_t(runner, choice, controls)
    if runner.plan.settings.thorough:
        first = [one.records[0].trial for one in evidence.held_out if one.role in panel.ROLES]
        runner.trials(panel.STAGE, [replace(trial, rung="panel") for trial in first])
        found = counting.edit_count_schedule(runner.plan)
        shown = counting.on_curve(choice, controls)
        runner.trials(counting.STAGE, counting.curve_trials(runner.plan, found, shown))
    compare_recipes(runner, space, evidence.held_out[0])
    if runner.plan.settings.audit:
        wanted = audit_asks(space, selected, runner.plan.settings.audit)
        runner.trials("audit", [runner.trial(ask) for ask in (*wanted.looks, *wanted.full)])
    return paper.asked


def _utility(trial: Trial, first: float) -> float:
    """From 0 to 1: drawn for the location, less away from the rate that was tried first there."""
    steps = abs(log(trial.recipe.lr / first, STEP))
    return max(0.1, random.Random(trial.location).uniform(0.4, 0.9) - 0.1 * steps)
