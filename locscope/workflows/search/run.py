"""`search`: from a model and edits to the layer configuration to use, with the evidence.

Selected on S by a strategy, validated on V, fitted to the edits that will be made; reported on T,
which nothing was chosen on: the untouched model is tuned afresh on parts of T and measured there,
the runner-up, the depth rule's location and random ones alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from locscope.progress import Progress, stage
from locscope.recommendation.looser_bounds import relaxed
from locscope.recommendation.recommend import recommend
from locscope.records import RunInfo, Scorecard, StageCost, TrialRecord
from locscope.report.data.inputs import ReportInputs
from locscope.runs.folder import RunFolder, open_run, write_info
from locscope.runs.store import read_record, write_record
from locscope.selection.choice import Best, ranked
from locscope.selection.grids import on_edge
from locscope.selection.space import FULL, Space, at_rung
from locscope.tuning.trial import run_keeping
from locscope.workflows.provenance import earlier_costs, run_info
from locscope.workflows.publish import publish
from locscope.workflows.saving import save_tuned
from locscope.workflows.search.audit import audit
from locscope.workflows.search.edit_counts import count_curve, on_curve
from locscope.workflows.search.fit import deploy, worker_for
from locscope.workflows.search.holdout import context, report_on_t
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.protocols import known_panels, panels
from locscope.workflows.search.recipes import compare_recipes
from locscope.workflows.search.select import (
    choose,
    controls_of,
    ran_in_full,
    ranking,
    scan_s,
    space_of,
)
from locscope.workflows.search.trial_runner import Listener, TrialRunner
from locscope.workflows.search.validate import validate

UNFINISHED = "unfinished"
"""Status of a run that has its recommendation, and may have been cut off after it."""
MORE = "not finished: what is added to the recommendation; the same command goes on"

Info = Callable[[str, Sequence[str]], RunInfo]
"""From a status and notes to the record of the run so far."""


@dataclass(frozen=True)
class Found:
    """Where the results lie, and what they are."""

    folder: Path
    inputs: ReportInputs


def search(
    plan: Plan,
    progress: Progress,
    *,
    fresh: bool = False,
    command: str = "",
    tracker: AbstractContextManager[Listener] | None = None,
    save: Path | None = None,
) -> Found:
    """Runs a plan in its folder, or goes on where an earlier run of it ended.

    A `tracker` is opened once the folder is ours, and told of every trial that was run. The model
    tuned as recommended is written to `save`.
    """
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    with (
        open_run(plan.folder, plan.frozen, fresh=fresh) as folder,
        tracker or nullcontext() as heard,
    ):
        for note in (*folder.notes, *plan.workspace.notes):
            progress.say(note)
        earlier = earlier_costs(folder)
        runner = TrialRunner(plan, folder, progress, heard, uncounted=not earlier)
        info = partial(info_of, plan, earlier, runner.costs, command, started)
        inputs = None
        # Written as soon as there is a recommendation: what is added to it may fail or be cut off.
        for inputs in _stages(runner, folder, info):
            write_info(folder, inputs.run)
            publish(folder.path, inputs, plan.loaded.info, plan.settings.edits)
        # Last: the same command goes on with a search that was cut off, and writes no model twice.
        assert inputs is not None, "a search has stages"
        if save is not None:
            _save(runner, inputs, save)
    return Found(plan.folder, inputs)


def _save(runner: TrialRunner, inputs: ReportInputs, output: Path) -> None:
    """Tunes once more as the deployed trial did and writes that model."""
    found = inputs.recommendation
    if found is None or found.deployment is None:
        return
    plan, trial = runner.plan, runner.known[found.deployment.trial].trial
    with stage(runner.progress, "saving the model", 1):
        worker = worker_for(runner)
        tuned = run_keeping(worker.context, trial, worker.before.of(trial.measured), keep=True)
        save_tuned(plan.loaded, tuned, plan.settings, plan.objective, output)


def info_of(
    plan: Plan,
    earlier: Sequence[StageCost],
    costs: Sequence[StageCost],
    command: str,
    started: str,
    status: str,
    notes: Sequence[str],
) -> RunInfo:
    """The record of the search as a whole."""
    return run_info(
        "search",
        plan.frozen,
        plan.settings.seed,
        plan.loaded,
        plan.edit_set,
        (*plan.workspace.notes, *notes),
        (*earlier, *costs),
        command,
        started,
        status,
    )


def _stages(runner: TrialRunner, folder: RunFolder, info: Info) -> Iterator[ReportInputs]:
    """The recommendation, and then the same with what is added to it; all from records and into
    records. What an earlier run added is there from the first, and stays."""
    plan = runner.plan
    scans = scan_s(runner)
    space = space_of(runner, scans)
    selected = choose(runner, space, plan.settings.strategy)
    looser = relaxed(at_rung(selected, FULL), plan.objective)
    if looser is not None:
        runner.objective = looser.objective
        space = replace(space, objective=looser.objective.strict)
        selected = choose(runner, space, plan.settings.strategy, selected)
    locations = ranking(space, selected)
    controls = controls_of(runner, space, selected)
    made = deploy(runner, validate(runner, locations), looser)
    evidence = report_on_t(runner, made.choice, controls)
    found = recommend(
        context(plan),
        evidence.held_out,
        evidence.randoms,
        made.deployed,
        made.choice.reason,
        ran_in_full(selected, controls),
        made.looser,
    )
    write_record(folder, "recommendation", "final", found)
    notes = (
        *on_rates(locations[: space.finalists], space),
        *on_controls(made.choice.finalists[0].best, _only_compared(controls, selected), space),
    )
    inputs = ReportInputs(
        run=info(UNFINISHED, (*notes, MORE)),
        recommendation=found,
        scans=scans,
        trials=tuple(runner.known.values()),
        scorecard=read_record(folder, "scorecard", "final", Scorecard),
        edits=plan.edit_set.edits,
        panels=known_panels(runner, evidence.held_out),
    )
    yield inputs
    if plan.settings.thorough:
        inputs = replace(inputs, panels=panels(runner, evidence.held_out))
        count_curve(runner, on_curve(made.choice, controls))
    compare_recipes(runner, space, evidence.held_out[0])
    card = audit(runner, space, selected, scans)
    if card is not None:
        write_record(folder, "scorecard", "final", card)
        inputs = replace(inputs, scorecard=card)
    yield replace(inputs, run=info("done", notes), trials=tuple(runner.known.values()))


def _only_compared(
    controls: Mapping[str, Best], selected: Sequence[TrialRecord]
) -> dict[str, Best]:
    """The controls that the strategy did not run in full itself: a race has locations that always
    run among them."""
    there = {record.trial.location for record in at_rung(selected, FULL)}
    return {role: one for role, one in controls.items() if one.location not in there}


def on_rates(finalists: Sequence[Best], space: Space) -> Iterator[str]:
    """Whose best learning rate may not be among those tried."""
    for best in finalists:
        if len(best.tried) == 1:
            yield f"{best.location}: one learning rate was tried, another may be better"
        elif on_edge(best.tried, space.objective):
            yield (
                f"{best.location}: the best learning rate is on the edge of its grid, another "
                "beyond it may be better"
            )


def on_controls(best: Best, controls: Mapping[str, Best], space: Space) -> Iterator[str]:
    """What was run for comparison alone does not choose; what it showed is not kept back."""
    for role, control in controls.items():
        first = ranked((best.record, control.record), space.objective)[0]
        if first.trial.id != best.record.trial.id:
            yield (
                f"{control.location} ({role}) at {control.record.trial.recipe.lr:g} did better on "
                f"S than {best.location}: it was run for comparison, outside what {best.location} "
                "was chosen from"
            )
