"""What the stages of a search share: who runs their trials, and what they have found so far.

A search and its dry run go through the same stages. They differ in the `TrialRunner` alone: one
tunes and measures, the other makes records up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from locscope.recommendation.finalists import Finalist
from locscope.recommendation.looser_bounds import Relaxed
from locscope.records import (
    BoundPoint,
    Edit,
    ProtocolResults,
    Recipe,
    ScanResult,
    Trial,
    TrialRecord,
    default_batch,
)
from locscope.scorecard.audit import Audit
from locscope.scoring.objectives import Objective
from locscope.selection.choice import Best
from locscope.selection.space import Space, TrialRequest
from locscope.workflows.search.plan import Plan


class TrialRunner(Protocol):
    """Runs the trials of a plan.

    Trials are judged by `objective`, which a stage replaces where the bounds asked for leave
    nothing useful; records on disk keep the judgement by the objective that was asked for.
    """

    plan: Plan
    objective: Objective

    def trials(
        self, stage: str, trials: Sequence[Trial], edits: Sequence[Edit] | None = None
    ) -> tuple[TrialRecord, ...]:
        """The records of the trials, in their order; `edits` are those that the evaluation suite
        is about, where they are not those of the plan."""
        ...

    def protocols(self, stage: str, wanted: Sequence[Finalist]) -> tuple[ProtocolResults, ...]:
        """What the model answers under every protocol, tuned as in the first trial of each."""
        ...

    def starting_rate(self, trial: Trial) -> float:
        """The learning rate at which the first step changes the loss as much as is wanted."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What the stages have found; each returns it with its own part added.

    `selected` are the strategy's trials on S, `controls` the locations it has to beat by role,
    `looser` the bounds chosen by where those asked for leave nothing useful. Of the `finalists` on
    S and V the first is chosen, `deployed` is its trial on all edits to be made, `fitted` are those
    by which recipes were fitted to these, `reason` says why it is used and `points` what other
    bounds would have given, where the one on perplexity costs much. `held_out` were
    measured on T, each in its role. `panels` are results under other protocols, `audit` is for the
    scorecard.
    """

    space: Space
    scans: tuple[ScanResult, ...]
    selected: tuple[TrialRecord, ...] = ()
    looser: Relaxed | None = None
    controls: Mapping[str, Best] = field(default_factory=dict)
    finalists: tuple[Finalist, ...] = ()
    deployed: TrialRecord | None = None
    fitted: tuple[TrialRecord, ...] = ()
    reason: str = ""
    points: tuple[BoundPoint, ...] = ()
    held_out: tuple[Finalist, ...] = ()
    panels: tuple[ProtocolResults, ...] = ()
    audit: Audit | None = None


Stage = Callable[[TrialRunner, Evidence], Evidence]
"""One step of a search: it asks the runner for trials and adds what they show."""


def trials_of(plan: Plan, requests: Sequence[TrialRequest]) -> list[Trial]:
    """The trials on S that a strategy asks for."""
    return [trial_of(plan, request) for request in requests]


def trial_of(plan: Plan, request: TrialRequest) -> Trial:
    """One of them: location and rate as requested, all else as the plan says."""
    settings, fidelity = plan.settings, request.fidelity
    return Trial(
        location=request.location,
        recipe=Recipe(
            lr=request.lr,
            batch=settings.batch_size or default_batch(fidelity.edits),
            epochs=fidelity.epochs,
            prefixes=settings.prefixes,
            prompt_format=settings.prompt_format,
        ),
        edits=plan.first_of_s(fidelity.edits),
        split="S",
        rung=fidelity.rung,
        seed=settings.seed,
        model=plan.loaded.info.hash,
        edit_set=plan.edit_set.fingerprint,
        quick=fidelity.quick,
        choosing=True,
    )


def rungs_of(requests: Sequence[TrialRequest]) -> str:
    """The name of a stage whose trials may be of several rungs."""
    return " and ".join(dict.fromkeys(request.fidelity.rung for request in requests))
