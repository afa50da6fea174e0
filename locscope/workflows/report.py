"""`report`: draws a run again from its records; several become a comparison, one a study too."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from locscope.edits import read_edits
from locscope.errors import LocscopeError, UsageError
from locscope.integrations.optuna_study import check_study, write_study
from locscope.progress import Progress, Silent
from locscope.records import (
    Edit,
    ProtocolResults,
    Recommendation,
    RunInfo,
    ScanResult,
    Scorecard,
    TrialRecord,
)
from locscope.records.checks import FINAL
from locscope.report.data.inputs import ReportInputs
from locscope.report.output.comparison import render_comparison
from locscope.report.output.page import render_report
from locscope.runs.files import explained, write_atomic
from locscope.runs.info import MARKER, missing_records, read_info, restore
from locscope.runs.store import iterate, read_record
from locscope.workflows.publish import data_of, publish

DEPLOYED = "deployed"
"""The rung of the trial on the edits that will be made."""


def report(
    folders: Sequence[Path],
    output: Path | None = None,
    study: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the report of one run into its folder, or of several into `output`; gives its path.

    With `study` the trials of one run are written there too, as an Optuna study (SQLite).
    """
    if study is not None:
        if len(folders) != 1:
            raise UsageError("an Optuna study is of one run: give one folder with --optuna")
        check_study(study)
    progress = progress or Silent()
    for folder in folders:
        for note in restore(folder):
            progress.say(note)
    runs = tuple(load_run(folder, progress) for folder in folders)
    if study is not None:
        write_study(runs[0].trials, study, progress)
    if len(runs) == 1 and output is None:
        publish(folders[0], runs[0], runs[0].run.model, runs[0].run.settings.get("edits", ""))
        return folders[0] / "report.html"
    path = output or Path("comparison.html")
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file for --output")
    page = render_report(runs[0]) if len(runs) == 1 else render_comparison(runs, folders)
    with explained(f"write {path}"):
        write_atomic(path, page)
    return path


def load_run(folder: Path, progress: Progress | None = None) -> ReportInputs:
    """All records of a run; a UsageError where the folder is none or has nothing to show yet.

    A LocscopeError names the records that are damaged or missing: without them a report would be
    another than the run's.
    """
    info = _info(folder)
    damaged: list[str] = []
    read = partial(read_record, folder, damaged=damaged)
    every = partial(iterate, folder, damaged=damaged)
    inputs = ReportInputs(
        run=info,
        recommendation=read("recommendation", FINAL, Recommendation),
        scans=tuple(every("scan", ScanResult)),
        trials=tuple(every("trial", TrialRecord)),
        scorecard=read("scorecard", FINAL, Scorecard),
        edits=_edits(info.settings.get("edits", ""), progress or Silent()),
        panels=tuple(every("panel", ProtocolResults)),
    )
    there = [*damaged, *(f"{name} (missing)" for name in missing_records(folder))]
    if lacks := [*there, *(f"{name} (missing)" for name in _needed(inputs) if not there)]:
        some = ", ".join(lacks[:5]) + (f" and {len(lacks) - 5} more" if len(lacks) > 5 else "")
        raise LocscopeError(
            f"{folder}: {len(lacks)} of its records cannot be used: {some}; nothing was written, "
            f"and a report that is there stays: `locscope {info.verb}` with the same settings "
            "runs their tasks again"
        )
    return inputs


def _info(folder: Path) -> RunInfo:
    info = read_info(folder)
    if info is None:
        raise UsageError(f"{folder} has no finished run yet: run `locscope search` on it again")
    try:
        data_of(info.settings, None)
    except ValueError as error:
        raise UsageError(f"cannot read {folder / MARKER}: see its settings ({error})") from error
    return info


def _needed(inputs: ReportInputs) -> tuple[str, ...]:
    """Files of records that a search with these others has written: older run folders do not list
    theirs."""
    made = inputs.recommendation
    if made is None:
        return (f"recommendation-{FINAL}.json",) if inputs.run.verb == "search" else ()
    deployed = made.deployment
    # Not by its id: that of a trial of an older program is another.
    there = any(record.trial.rung == DEPLOYED for record in inputs.trials)
    return () if deployed is None or there else (f"trial-{deployed.trial}.json",)


def _edits(source: str, progress: Progress) -> tuple[Edit, ...]:
    """The edits, for their prompts in tables; none where the file is no longer there."""
    try:
        return read_edits(source).edits
    except LocscopeError as error:
        progress.say(f"without the prompts of the edits: {error}")
        return ()
