"""`search`: from a model and edits to the layer configuration to use, with the evidence.

Selected on S by a strategy, validated on V, fitted to the edits that will be made; reported on T,
which nothing was chosen on: the untouched model is tuned afresh on parts of T and measured there,
the runner-up, the depth rule's location and random ones alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from locscope.progress import Progress, stage
from locscope.recommendation.recommend import deployment_of, recommend
from locscope.records import Recommendation, RunInfo, Scorecard, StageCost, TrialRecord
from locscope.report.data.inputs import ReportInputs
from locscope.runs.folder import open_run
from locscope.runs.info import write_info
from locscope.runs.store import read_record, write_record
from locscope.scorecard.scorecard import scorecard
from locscope.selection.choice import Best, ranked
from locscope.selection.grids import on_edge
from locscope.selection.space import FULL, Space, at_rung
from locscope.tuning.workspace import trial_threads
from locscope.workflows.provenance import earlier_costs, run_info
from locscope.workflows.publish import Found, publish
from locscope.workflows.saving import check_output, note_on_files, save_tuned
from locscope.workflows.search.audit import audit
from locscope.workflows.search.comparisons import ROLES, compare_recipes, other_protocols
from locscope.workflows.search.edit_counts import edit_counts
from locscope.workflows.search.fit import deploy
from locscope.workflows.search.holdout import context, report_on_t, validate
from locscope.workflows.search.local_runner import Listener, LocalTrialRunner
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.select import (
    control,
    loosen,
    ran_in_full,
    ranking,
    scan_s,
    select,
    space_of,
)
from locscope.workflows.search.stages import Evidence, Stage

# `select` again, as within looser bounds the strategy goes on; without them it wants nothing more.
RECOMMENDING: tuple[Stage, ...] = (select, loosen, select, control, validate, deploy, report_on_t)
"""The stages that a recommendation rests on, in order; the dry run goes through the same."""
ADDING: tuple[Stage, ...] = (other_protocols, edit_counts, compare_recipes, audit)
"""Those that add to it, once it is written: they may fail or be cut off."""
UNFINISHED = "unfinished"
"""Status of a run that has its recommendation, and may have been cut off after it."""
MORE = "not finished: what is added to the recommendation; the same command goes on"


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
    # Refused now rather than after days of searching.
    if save is not None:
        check_output(save, plan.loaded)
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    with (
        open_run(plan.folder, plan.frozen, fresh=fresh, say=progress.say) as folder,
        tracker or nullcontext() as heard,
        ExitStack() as opened,
    ):
        for note in plan.workspace.suite_notes:
            progress.say(note)
        earlier = earlier_costs(folder)
        runner = opened.enter_context(
            LocalTrialRunner(plan, folder, progress, heard, uncounted=not earlier)
        )
        # After the team is chosen, by the threads that torch had.
        opened.enter_context(trial_threads(plan.loaded.model.device))
        # While this process scans. Where there is a recommendation, hardly a trial is missing.
        if read_record(folder, "recommendation", "final", Recommendation) is None:
            runner.start()
        info = partial(info_of, plan, earlier, runner.costs, command, started)
        scans = scan_s(runner)
        evidence = Evidence(space_of(runner, scans), scans)
        for run_stage in RECOMMENDING:
            evidence = run_stage(runner, evidence)
        recommendation = _recommend(plan, evidence)
        write_record(folder, "recommendation", "final", recommendation)
        # Before the other stages: whoever cuts them off keeps the recommendation.
        notes = (*runner.notes, *_notes(evidence))
        inputs = _so_far(runner, evidence, recommendation, info(UNFINISHED, (*notes, MORE)))
        _publish(runner, inputs)
        for run_stage in ADDING:
            evidence = run_stage(runner, evidence)
        inputs = _finished(runner, evidence, inputs, info("done", notes))
        _publish(runner, inputs)
        # Last: the same command goes on with a search that was cut off, and writes no model twice.
        if save is not None:
            _save(runner, recommendation, save)
    return Found(plan.folder, inputs)


def _recommend(plan: Plan, evidence: Evidence) -> Recommendation:
    assert evidence.deployed is not None, "the stages tune on the edits to be made"
    about, given = context(plan), len(plan.given.edits)
    return recommend(
        about,
        evidence.held_out,
        deployment_of(about, evidence.deployed, evidence.fitted, given),
        ran_in_full(evidence.selected, evidence.controls),
        evidence.looser,
        reason=evidence.reason,
        points=evidence.points,
    )


def _so_far(
    runner: LocalTrialRunner, evidence: Evidence, recommendation: Recommendation, run: RunInfo
) -> ReportInputs:
    """The recommendation with what an earlier run added to it, which is there from the first."""
    panels = (
        runner.known_panel(contender) for contender in evidence.held_out if contender.role in ROLES
    )
    return ReportInputs(
        run=run,
        recommendation=recommendation,
        scans=evidence.scans,
        trials=tuple(runner.known.values()),
        scorecard=read_record(runner.folder, "scorecard", "final", Scorecard, runner.progress),
        edits=runner.plan.edit_set.edits,
        panels=tuple(panel for panel in panels if panel is not None),
    )


def _finished(
    runner: LocalTrialRunner, evidence: Evidence, inputs: ReportInputs, run: RunInfo
) -> ReportInputs:
    """The same with what was added; what an earlier run added and this one did not ask for
    stays."""
    if evidence.audit is not None:
        card = scorecard(evidence.scans, evidence.audit, evidence.space.seed)
        write_record(runner.folder, "scorecard", "final", card)
        inputs = replace(inputs, scorecard=card)
    panels, trials = evidence.panels or inputs.panels, tuple(runner.known.values())
    return replace(inputs, run=run, panels=panels, trials=trials)


def _publish(runner: LocalTrialRunner, inputs: ReportInputs) -> None:
    write_info(runner.folder, inputs.run)
    publish(runner.plan.folder, inputs, runner.plan.loaded.info, runner.plan.settings.edits)


def _notes(evidence: Evidence) -> tuple[str, ...]:
    """What the reader of the recommendation should know of rates and controls."""
    space, best = evidence.space, evidence.finalists[0].best
    locations = ranking(space, evidence.selected)[: space.finalists]
    controls = _only_compared(evidence.controls, evidence.selected)
    return (*on_rates(locations, space), *on_controls(best, controls, space))


def _save(runner: LocalTrialRunner, recommendation: Recommendation, output: Path) -> None:
    """Tunes once more as the deployed trial did and writes that model."""
    if recommendation.deployment is None:
        return
    plan, trial = runner.plan, runner.known[recommendation.deployment.trial].trial
    with stage(runner.progress, "saving the model", 1):
        for line in note_on_files(plan.loaded, code=plan.settings.trust_remote_code):
            runner.progress.say(line)
        tuned = runner.tuned(trial, plan.given.edits)
        for line in save_tuned(plan.loaded, tuned, plan.settings, plan.objective, output):
            runner.progress.say(line)


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


def _only_compared(
    controls: Mapping[str, Best], selected: Sequence[TrialRecord]
) -> dict[str, Best]:
    """The controls that the strategy did not run in full itself: a race has locations that always
    run among them."""
    there = {record.trial.location for record in at_rung(selected, FULL)}
    return {role: best for role, best in controls.items() if best.location not in there}


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
    for role, rival in controls.items():
        first = ranked((best.record, rival.record), space.objective)[0]
        if first.trial.id != best.record.trial.id:
            yield (
                f"{rival.location} ({role}) at {rival.record.trial.recipe.lr:g} did better on "
                f"S than {best.location}: it was run for comparison, outside what {best.location} "
                "was chosen from"
            )
