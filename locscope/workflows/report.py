"""`report`: draws a run again from its records; several become a comparison, one a study too."""

from collections.abc import Sequence
from pathlib import Path

from locscope.edits import read_edits
from locscope.errors import LocscopeError, UsageError
from locscope.integrations.optuna_study import check_study, write_study
from locscope.progress import Progress
from locscope.records import (
    Edit,
    ProtocolResults,
    Recommendation,
    ScanResult,
    Scorecard,
    TrialRecord,
)
from locscope.report.data.inputs import ReportInputs
from locscope.report.output.comparison import render_comparison
from locscope.report.output.page import render_report
from locscope.runs.files import explained, write_atomic
from locscope.runs.folder import read_info
from locscope.runs.store import iterate, read_record
from locscope.workflows.publish import publish


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
    runs = tuple(load_run(folder) for folder in folders)
    if study is not None:
        write_study(runs[0].trials, study, progress)
    if len(runs) == 1 and output is None:
        publish(folders[0], runs[0], runs[0].run.model, runs[0].run.settings["edits"])
        return folders[0] / "report.html"
    path = output or Path("comparison.html")
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file for --output")
    page = render_report(runs[0]) if len(runs) == 1 else render_comparison(runs)
    with explained(f"write {path}"):
        write_atomic(path, page)
    return path


def load_run(folder: Path) -> ReportInputs:
    """All records of a run; a UsageError where the folder is none or has nothing to show yet."""
    info = read_info(folder)
    if info is None:
        raise UsageError(f"{folder} has no finished run yet: run `locscope search` on it again")
    return ReportInputs(
        run=info,
        recommendation=read_record(folder, "recommendation", "final", Recommendation),
        scans=tuple(iterate(folder, "scan", ScanResult)),
        trials=tuple(iterate(folder, "trial", TrialRecord)),
        scorecard=read_record(folder, "scorecard", "final", Scorecard),
        edits=_edits(info.settings.get("edits", "")),
        panels=tuple(iterate(folder, "panel", ProtocolResults)),
    )


def _edits(source: str) -> tuple[Edit, ...]:
    """The edits, for their prompts in tables; none where the file is no longer there."""
    try:
        return read_edits(source).edits
    except LocscopeError:
        return ()
