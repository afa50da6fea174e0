"""Choosing on S: scans, candidates, and the strategy's trials until it wants no more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import nan

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.recommendation.looser_bounds import judged, relaxed
from locscope.records import ScanResult, TrialRecord
from locscope.runs.store import read_record
from locscope.scans.context import ScanContext
from locscope.selection.candidates import candidates, depth_rule
from locscope.selection.choice import Best, best_per_location
from locscope.selection.rates import wanted_rates
from locscope.selection.space import FULL, Fidelity, Space, TrialRequest, at_rung
from locscope.selection.strategies import strategy
from locscope.tuning.trial import gradient_l1
from locscope.tuning.workspace import trial_threads
from locscope.workflows.scan import run_scans
from locscope.workflows.search.estimate import locations_tried
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.stages import Evidence, TrialRunner, rungs_of, trial_of, trials_of

SCAN = "weight-gradient"
"""Starting rates come from it."""
CONTROL_RATES = 3
"""Rates that a control is tried at, at most."""
DEPTH_RULE = "depth-rule"
"""Role of the location that the paper's rule of depth names."""


def scan_context(runner: LocalTrialRunner) -> ScanContext:
    """What the scans of S are given."""
    plan = runner.plan
    ids = [edit.id for edit in plan.edit_set.edits]
    return ScanContext(
        loaded=plan.loaded,
        suite=plan.workspace.suite,
        prefix_cache=plan.workspace.prefix_cache,
        edits=plan.chosen,
        seed=plan.settings.seed,
        progress=runner.progress,
        options=plan.settings.scan_options,
        groups=tuple(tuple(ids[i] for i in group) for group in plan.parts.groups),
    )


def scan_s(runner: LocalTrialRunner) -> tuple[ScanResult, ...]:
    """The scans of S, each from its record where there is one; the weight gradient first."""
    names = tuple(dict.fromkeys((SCAN, *runner.plan.settings.scans)))
    with trial_threads(runner.plan.loaded.model.device, alone=True):
        runner.costs += run_scans(scan_context(runner), names, runner.folder)
    # Trials begin with what one thread has computed (`execution/local.py`).
    runner.workspace.prefix_cache.release()
    found = (
        read_record(runner.folder, "scan", name, ScanResult, runner.progress) for name in names
    )
    return tuple(result for result in found if result is not None)


def space_of(
    runner: LocalTrialRunner,
    scans: Sequence[ScanResult],
    norm_of: Callable[[Location], float] | None = None,
) -> Space:
    """What the strategy may try: the grid, what the user named, and the depth rule's location.

    `norm_of` gives the gradient's L1 norm at a location where the first scan has no row; without
    it, that of the edits of S is measured.
    """
    plan, settings = runner.plan, runner.plan.settings
    rule, to_learn = depth_rule(plan.loaded.info), plan.to_learn
    found = candidates(
        plan.loaded.info,
        scans[0],
        locations_tried(plan.loaded.info, settings),
        norm_of or partial(_gradient_l1, runner),
        plan.first_step,
    )
    return Space(
        candidates=found,
        scans=tuple(scans),
        objective=runner.objective.strict,
        edits=len(plan.chosen),
        epochs=settings.epochs,
        seed=settings.seed,
        depth_rule=rule,
        finalists=settings.finalists,
        budget=settings.allowance,
        budget_unit=settings.budget_unit,
        first_step=plan.first_step,
        to_learn=to_learn,
    )


def _gradient_l1(runner: LocalTrialRunner, location: Location) -> float:
    """That of the edits of S, where the scan has no row: several sites, or a part it leaves out."""
    plan = runner.plan
    fidelity = Fidelity(SCAN, len(plan.chosen), plan.settings.epochs)
    trial = trial_of(plan, TrialRequest(location, nan, fidelity))
    return gradient_l1(runner.workspace, trial, runner.progress)


def select(runner: TrialRunner, evidence: Evidence, name: str | None = None) -> Evidence:
    """The stage on S: all trials that the strategy of that name (the settings' own without one)
    asks for, in its order, after those that it ran under other bounds.

    Raises UsageError where there is no such strategy, or it asks for nothing new, or nothing in
    full.
    """
    name = name or runner.plan.settings.strategy
    ask = strategy(name)
    records = [judged(record, runner.objective) for record in evidence.selected]
    while requests := ask(evidence.space, records):
        seen = {record.trial.id for record in records}
        answers = runner.trials(rungs_of(requests), trials_of(runner.plan, requests))
        fresh = [record for record in answers if record.trial.id not in seen]
        # It would ask without end.
        if not fresh:
            raise UsageError(f"strategy '{name}' asks again for trials that it was given")
        records += fresh
    if not at_rung(records, FULL):
        raise UsageError(f"strategy '{name}' ran no location in full: nothing can be recommended")
    return replace(evidence, selected=tuple(records))


def loosen(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of looser bounds: where those asked for leave nothing useful, the first that does
    is what choosing goes by from here on. It runs nothing itself."""
    looser = relaxed(at_rung(evidence.selected, FULL), runner.plan.objective)
    if looser is None:
        return evidence
    # The runner's too: it judges records that are read again, and those of later stages.
    runner.objective = looser.objective
    space = replace(evidence.space, objective=looser.objective.strict)
    return replace(evidence, space=space, looser=looser)


def ranking(space: Space, chosen: Sequence[TrialRecord]) -> tuple[Best, ...]:
    """The locations that the strategy ran in full, best first: what it recommends is the first."""
    return best_per_location(at_rung(chosen, FULL), space.objective)


def control(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the controls: what a choice has to beat, each at its own best rate in full.

    They are the depth rule's location and random ones, by role. Trials that the strategy did not
    run are counted apart from choosing. A control gets no more rates than the finalist that got
    most, and a few at most.
    """
    space = evidence.space
    locations = _control_locations(space, runner.plan.settings.controls)
    full = at_rung(evidence.selected, FULL)
    records = [record for record in full if record.trial.location in locations.values()]
    finalists = ranking(space, evidence.selected)[: space.finalists]
    most = min(CONTROL_RATES, max((len(best.tried) for best in finalists), default=1))
    there = {record.trial.location for record in records}
    requests = [
        TrialRequest(location, space.of(location).lr, space.full)
        # A drawn location may be that of the depth rule: it is run once.
        for location in dict.fromkeys(locations.values())
        if location not in there
    ]
    while True:
        if requests:
            records += runner.trials("controls", trials_of(runner.plan, requests))
        controls = best_per_location(records, space.objective)
        requests = [
            request
            for best in controls
            if len(best.tried) < most
            for request in wanted_rates(space, best)
        ]
        if not requests:
            break
    by_location = {best.location: best for best in controls}
    roles = {role: by_location[location] for role, location in locations.items()}
    return replace(evidence, controls=roles)


def _control_locations(space: Space, randoms: int) -> dict[str, Location]:
    """The depth rule's location and so many random ones, by role."""
    drawn = enumerate(space.drawn[:randoms], start=1)
    return {DEPTH_RULE: space.depth_rule, **{f"random-{n}": location for n, location in drawn}}


def ran_in_full(
    chosen: Sequence[TrialRecord], controls: Mapping[str, Best]
) -> tuple[TrialRecord, ...]:
    """All that was run in full on S, whoever asked for it."""
    found = [
        *at_rung(chosen, FULL),
        *(record for best in controls.values() for record in best.tried),
    ]
    return tuple({record.trial.id: record for record in found}.values())
