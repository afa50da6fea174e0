"""`scan`: what every localisation method says of a model and edits, without tuning anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path

from locscope.edits import EditSet
from locscope.edits.splits import groups
from locscope.errors import UsageError
from locscope.interp.facts import facts_of
from locscope.models.load import Loaded
from locscope.progress import Progress, stage
from locscope.records import ScanResult, StageCost
from locscope.records.codec import fingerprint
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.words import duration
from locscope.runs.folder import default_name, open_run
from locscope.runs.info import write_info
from locscope.runs.private import without_secrets
from locscope.runs.store import iterate, read_record, write_record
from locscope.scans import SCANS, is_cheap
from locscope.scans.context import ScanContext
from locscope.scans.cost import passes
from locscope.scans.run import run_scan, seconds_of_a_pass, sizes_of
from locscope.settings import ScanSettings
from locscope.tuning.workspace import Workspace
from locscope.workflows.early.edits import load_edits
from locscope.workflows.provenance import earlier_costs, frozen_settings, run_info
from locscope.workflows.publish import Found, publish
from locscope.workflows.workspace import open_model, write_suite

LOADING, SCANNING = 5, 90
"""Per cent of a scan's time, about."""


@dataclass(frozen=True)
class ScanPlan:
    """All that is settled before anything is scanned or written."""

    settings: ScanSettings
    loaded: Loaded
    edit_set: EditSet
    workspace: Workspace
    folder: Path
    frozen: dict[str, str]


def plan_scan(
    settings: ScanSettings,
    output: Path | None,
    progress: Progress,
    loaded: Loaded | None = None,
) -> ScanPlan:
    """Reads and checks everything; nothing is scanned or written. A model that is `loaded` already
    is not read again."""
    edit_set = load_edits(settings)
    with stage(progress, "loading the model", 1, share=LOADING):
        loaded = open_model(settings, loaded)
    progress.say(f"writing the evaluation suite for {len(edit_set.edits)} edits")
    workspace = write_suite(settings, loaded, edit_set)
    if settings.strict:
        text_generator = workspace.suite.text_generator
        facts_of(text_generator, edit_set.edits, settings.prompt_format, strict=True)
    # Which scans are asked for is not part of it: more can be added to a folder.
    without = frozenset({"scans"})
    frozen = frozen_settings(settings, loaded, edit_set, workspace.eval_texts, without)
    folder = output or default_name(settings.model, settings.edits, fingerprint("scan", frozen))
    return ScanPlan(settings, loaded, edit_set, workspace, folder, frozen)


def scan(plan: ScanPlan, progress: Progress, *, fresh: bool = False, command: str = "") -> Found:
    """Runs the scans of a plan in its folder; those that are there already are not run again."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    with open_run(plan.folder, plan.frozen, fresh=fresh, say=progress.say) as folder:
        for note in plan.workspace.suite_notes:
            progress.say(note)
        context = context_of(plan, progress)
        costs = run_scans(context, plan.settings.scans, folder, SCANNING)
        found = iterate(folder, "scan", ScanResult, progress)
        # In the order of the table: which command added a scan must not show in the report.
        ordered = sorted(found, key=lambda result: list(SCANS).index(result.descriptor.name))
        costs = (*earlier_costs(folder), *costs)
        inputs = inputs_of(plan, ordered, costs, command=command, started=started)
        write_info(folder, inputs.run)
        publish(folder, inputs, plan.loaded.info, plan.settings.edits)
    usable = any(
        result.usable for result in ordered if result.descriptor.name in plan.settings.scans
    )
    return Found(plan.folder, inputs, usable)


def inputs_of(
    plan: ScanPlan,
    found: Sequence[ScanResult],
    costs: Sequence[StageCost],
    *,
    command: str = "",
    started: str = "",
) -> ReportInputs:
    """What a report of these scans is drawn from."""
    info = run_info(
        "scan",
        plan.frozen,
        plan.settings.seed,
        plan.loaded,
        plan.edit_set,
        plan.workspace.suite_notes,
        costs,
        command,
        started,
    )
    return ReportInputs(
        run=info,
        recommendation=None,
        scans=tuple(found),
        trials=(),
        scorecard=None,
        edits=plan.edit_set.edits,
    )


def context_of(plan: ScanPlan, progress: Progress) -> ScanContext:
    """What the scans of a plan are given."""
    edits = plan.edit_set.edits
    return ScanContext(
        loaded=plan.loaded,
        suite=plan.workspace.suite,
        prefix_cache=plan.workspace.prefix_cache,
        edits=tuple(edit.id for edit in edits),
        seed=plan.settings.seed,
        progress=progress,
        options=plan.settings.scan_options,
        groups=tuple(tuple(edits[i].id for i in group) for group in groups(edits)),
    )


def run_scans(
    context: ScanContext, names: Sequence[str], folder: str | PathLike[str], share: float = 0.0
) -> tuple[StageCost, ...]:
    """Runs the scans that have no record in the folder yet, and writes theirs.

    `share` is what part of the whole job they are together (per cent), for progress: each has of it
    what it has of the passes.

    A scan that cannot see this model is said and recorded as such, and the others go on; a
    UsageError where none can.
    """
    waiting = [name for name in names if not _found_something(folder, name, context.progress)]
    if not waiting:
        return ()
    a_pass, sizes = seconds_of_a_pass(context), sizes_of(context)
    work = {name: _work(name, context, sizes) for name in waiting}
    problems: dict[str, UsageError] = {}
    costs: list[StageCost] = []
    for name in waiting:
        context.progress.say(
            f"{name}: about {work[name]:,.0f} passes, {duration(work[name] * a_pass)}"
        )
        part = share * work[name] / (sum(work.values()) or 1.0)
        try:
            with stage(context.progress, f"scan {name}", 1, part):
                found = run_scan(name, context)
        except UsageError as error:
            problems[name] = error
            context.progress.say(f"{name} was not run: {error}")
            continue
        write_record(folder, "scan", name, found)
        costs.append(StageCost(f"scan {name}", found.seconds, 1, 0))
    # One of many scans may not see this model; where none does, there is no result.
    if problems and len(problems) == len(names):
        raise next(iter(problems.values()))
    for name, error in problems.items():
        write_record(folder, "scan", name, _unseen(name, context, error))
    return tuple(costs)


def _work(name: str, context: ScanContext, sizes: Mapping[str, float]) -> float:
    """Passes through the model that a scan takes on these edits, about."""
    edits = len((context if is_cheap(name) else context.narrowed).edits)
    return passes(SCANS[name].passes, sizes) * edits


def _found_something(folder: str | PathLike[str], name: str, progress: Progress) -> bool:
    """Whether the folder has a result of the scan that could use any edit."""
    found = read_record(folder, "scan", name, ScanResult, progress)
    return found is not None and found.usable > 0


def _unseen(name: str, context: ScanContext, error: UsageError) -> ScanResult:
    return ScanResult(
        descriptor=SCANS[name],
        scores=(),
        requests=len(context.edits),
        usable=0,
        seed=context.seed,
        seconds=0.0,
        edits=context.edits,
        notes=(without_secrets(str(error)),),
    )
