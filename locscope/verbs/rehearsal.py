"""A search on paper: which trials it would ask for, stage by stage, with made-up records.

The stages are those of the search itself; only who answers them differs. The made-up world is a
plain one: bounds are kept, and every place is best at its starting rate.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log

from locscope.execute.local import Worker
from locscope.locations import Location
from locscope.records import Epoch, Measure, Trial, TrialRecord
from locscope.records.panel import COUNTED
from locscope.selection.candidates import STEP
from locscope.selection.choice import best_per_location
from locscope.selection.recommend import Confirmed
from locscope.selection.space import FULL, Ask, Space, at_rung
from locscope.selection.strategies.race import first_look
from locscope.verbs import counting
from locscope.verbs import paneling as panel
from locscope.verbs.choosing import choose, rules_of
from locscope.verbs.comparing import compare_recipes
from locscope.verbs.confirming import confirm
from locscope.verbs.desk import Desk

SHARES = (
    *("reliability", "generalization", "locality", "retention"),
    *("target_probability", "rephrase_probability", "neighbour_kept"),
)
RATIO, DRIFT = 1.001, 0.001
"""Of perplexity and in nats: far within every bound."""


@dataclass(frozen=True)
class Cost:
    """What a trial takes: seconds without moving the trunk, floating-point operations."""

    seconds: float
    flops: float


@dataclass
class Paper:
    """Answers trials by `cost`, each once; `asked` are the trials that would run, by stage.

    They lie in the order in which they would run: by layer, for the trunk's sake. `started` are
    the rates first tried, by location and recipe.
    """

    space: Space
    cost: Callable[[Trial], Cost]
    asked: dict[str, list[Trial]] = field(default_factory=dict)
    known: dict[str, TrialRecord] = field(default_factory=dict)
    started: dict[tuple[str, str], float] = field(default_factory=dict)

    def trials(
        self, stage: str, trials: Sequence[Trial], worker: Worker | None = None
    ) -> tuple[TrialRecord, ...]:
        """Made-up records of the trials, in their order; a worker has nothing to do."""
        del worker
        once = {trial.id: trial for trial in trials if trial.id not in self.known}
        self.known |= {key: self._record(trial) for key, trial in once.items()}
        ordered = sorted(once.values(), key=lambda one: Location.parse(one.location).lowest)
        self.asked.setdefault(stage, []).extend(ordered)
        return tuple(self.known[trial.id] for trial in trials)

    def _record(self, trial: Trial) -> TrialRecord:
        kind = (trial.location, trial.recipe.kind)
        cost, first = self.cost(trial), self.started.setdefault(kind, trial.recipe.lr)
        worth = _worth(trial, first)
        found = [Measure(name, worth, 1, "made up") for name in SHARES]
        found += [Measure("perplexity_ratio", RATIO, 1, "made up")]
        found += [Measure("kl", DRIFT, 1, "made up")]
        return TrialRecord(
            trial=trial,
            status="done",
            score=worth,
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
        )


def rehearse(desk: Desk, space: Space, cost: Callable[[Trial], Cost]) -> dict[str, list[Trial]]:
    """The trials of a search by stage, in the order in which they would run; nothing is run.

    The desk is of no use afterwards.
    """
    paper = Paper(space, cost)
    desk.trials = paper.trials
    chosen = choose(desk, space, desk.plan.settings.strategy)
    ranked = best_per_location(at_rung(chosen, FULL), space.aim)
    confirmed = confirm(desk, ranked, rules_of(desk, space, chosen))
    if desk.plan.settings.thorough:
        first = [one.records[0].trial for one in confirmed if one.role in panel.ROLES]
        desk.trials(panel.STAGE, [replace(trial, rung="panel") for trial in first])
        desk.trials(counting.STAGE, _counted(desk, confirmed))
    compare_recipes(desk, space, confirmed[0])
    if desk.plan.settings.audit:
        desk.trials("audit", [desk.trial(ask) for ask in _audited(desk, space, chosen)])
    return paper.asked


def _counted(desk: Desk, confirmed: Sequence[Confirmed]) -> list[Trial]:
    """As the edit-count curve asks, without the exam that it may write for more edits."""
    found = counting.ladder(desk.plan)
    return [
        replace(
            one.best.record.trial,
            edits=found.first(count),
            split=COUNTED,
            rung=f"count-{count}",
        )
        for count in found.counts
        for one in confirmed
        if one.role in counting.ROLES
    ]


def _audited(desk: Desk, space: Space, chosen: Sequence[TrialRecord]) -> list[Ask]:
    """As the audit asks, without its judgement."""
    places = space.drawn[: desk.plan.settings.audit]
    full = [Ask(place, space.of(place).lr, space.full) for place in places]
    everything = {record.trial.location for record in at_rung(chosen, FULL)}
    swept = everything >= {one.location for one in space.candidates}
    return [] if swept else [*first_look(space), *full]


def _worth(trial: Trial, first: float) -> float:
    """From 0 to 1: drawn for the place, less away from the rate that was tried first there."""
    steps = abs(log(trial.recipe.lr / first, STEP))
    return max(0.5, random.Random(trial.location).uniform(0.9, 0.99) - 0.1 * steps)
