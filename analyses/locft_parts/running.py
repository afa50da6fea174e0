"""Runs of the paper's settings on one model: each trial from its record, else run and kept."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from analyses.locft_parts.capability import Capability, measured, there
from analyses.locft_parts.published import BATCH, EPOCHS
from locscope.edits import EditSet
from locscope.execution.local import run_trials
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.progress import Progress
from locscope.records import Recipe, Trial, TrialRecord
from locscope.runs.folder import open_run
from locscope.runs.store import iterate, read_record, write_record
from locscope.settings import EditSettings
from locscope.tuning.trial import run_trial
from locscope.tuning.workspace import Workspace
from locscope.workflows.provenance import frozen_settings
from locscope.workflows.workspace import load_edits, open_workspace


@dataclass(frozen=True)
class Job:
    """One model on one edit set at some locations, all at one rate.

    `what` names the table, `tasks` are lm-eval's, `sample` is how many items of each (None: all).
    """

    what: str
    settings: EditSettings
    locations: tuple[str, ...]
    lr: float
    tasks: tuple[str, ...]
    sample: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A trial's record with its capability."""

    record: TrialRecord
    capability: Capability


def run(job: Job, loaded: Loaded, folder: Path, progress: Progress) -> tuple[Outcome, ...]:
    """The outcomes of a job, in the order of its locations; what `folder` knows is not run again.

    A UsageError where the edits cannot be read or the folder is of another run.
    """
    edit_set = load_edits(job.settings)
    workspace = open_workspace(job.settings, loaded, edit_set, progress)
    frozen = frozen_settings(job.settings, loaded, edit_set, workspace.eval_texts)
    with open_run(folder, frozen) as opened:
        for note in workspace.notes:
            progress.say(note)
        known = {r.trial.id: r for r in iterate(opened, "trial", TrialRecord, progress)}

        def keep(record: TrialRecord) -> None:
            write_record(opened, "trial", record.trial.id, record)
            known[record.trial.id] = record

        trials = [_trial(job, loaded, edit_set, location) for location in job.locations]
        missing = [trial for trial in trials if trial.id not in known]
        run_trials(workspace, job.what, missing, keep, progress)
        records = [known[trial.id] for trial in trials]
        return tuple(
            Outcome(record, _capability(job, workspace, opened, record, progress))
            for record in records
        )


def _trial(job: Job, loaded: Loaded, edit_set: EditSet, location: str) -> Trial:
    return Trial(
        location=Location.parse(location),
        recipe=Recipe(lr=job.lr, batch=BATCH, epochs=EPOCHS),
        edits=tuple(edit.id for edit in edit_set.edits),
        split="all",
        rung=job.what,
        seed=job.settings.seed,
        model=loaded.info.hash,
        edit_set=edit_set.fingerprint,
    )


def _capability(
    job: Job, workspace: Workspace, folder: PathLike[str], record: TrialRecord, progress: Progress
) -> Capability:
    """From its record, or tuned once more (to the same weights) and asked; none without lm-eval."""
    known = read_record(folder, "capability", record.trial.id, Capability, progress)
    if known is not None and (tuple(known.tasks), known.sample) == (job.tasks, job.sample):
        return known
    if not (job.tasks and there()):
        return Capability({}, "lm-eval is not installed" if job.tasks else "not asked for")
    tuned = run_trial(workspace, record.trial, keep=True)
    found = measured(workspace.loaded, tuned.changes, job.tasks, job.sample)
    write_record(folder, "capability", record.trial.id, found)
    progress.say(f"{record.trial.location}: capability {found.problem or round(found.mean, 2)}")
    return found
