"""Trackers: services that are told of every finished trial. They listen and own nothing.

What they are told is in the records too, and a search neither reads from them nor ends because of
them. A new one is one function here and one entry in `TRACKERS`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from locscope.errors import UsageError, unknown
from locscope.integrations.optuna_study import attributes
from locscope.progress import Progress, Silent
from locscope.records import TrialRecord

Value = str | int | float
Log = Callable[[Mapping[str, Value]], None]
PROJECT = "locscope"


@dataclass(frozen=True)
class Run:
    """What a tracker opens: a run's name, its settings, and the folder for the tracker's files."""

    name: str
    config: Mapping[str, str]
    folder: Path | None


@contextlib.contextmanager
def wandb(run: Run) -> Iterator[Log]:
    """Weights & Biases; WANDB_MODE=offline keeps everything here, `wandb sync` sends it later."""
    try:
        import wandb as service
    except ImportError:
        raise UsageError(
            "tracker wandb needs wandb, which is not installed: pip install wandb"
        ) from None
    try:
        opened = service.init(
            project=PROJECT,
            name=run.name,
            config=dict(run.config),
            dir=str(run.folder) if run.folder else None,
            settings=service.Settings(silent=True, console="off"),
        )
    except service.Error as error:
        raise UsageError(
            f"cannot open tracker wandb: {_first_line(error)}; run `wandb login`, or set "
            "WANDB_MODE=offline"
        ) from error
    try:
        yield lambda row: opened.log(dict(row))
    finally:
        # What could not be sent stays in the folder; the search has its records.
        with contextlib.suppress(service.Error):
            opened.finish()


TRACKERS: dict[str, Callable[[Run], AbstractContextManager[Log]]] = {"wandb": wandb}
"""By name, what opens a tracker: inside the block it takes rows of names and values."""


def check_tracker(name: str) -> None:
    """A UsageError with near names where there is no such tracker."""
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)


@contextlib.contextmanager
def open_tracker(
    name: str,
    run_name: str,
    config: Mapping[str, str],
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[Callable[[TrialRecord], None]]:
    """A listener for finished trials, as long as the block lasts.

    `config` are the run's settings, `folder` is where the tracker keeps its own files. A tracker
    that fails later is left behind, which `progress` is told once. A UsageError where the name is
    unknown or the tracker cannot be opened.
    """
    check_tracker(name)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with TRACKERS[name](Run(run_name, config, folder)) as log:
        yield _listener(name, log, progress or Silent())


def row_of(record: TrialRecord) -> dict[str, Value]:
    """What a tracker is told of a trial: where, how, score and measures, what was measured only."""
    row: dict[str, Value] = {
        "location": record.trial.location,
        "lr": record.trial.recipe.lr,
        **attributes(record),
    }
    return row if isnan(record.score) else {**row, "score": record.score}


def _listener(name: str, log: Log, progress: Progress) -> Callable[[TrialRecord], None]:
    lost = False

    def tell(record: TrialRecord) -> None:
        nonlocal lost
        if lost:
            return
        try:
            log(row_of(record))
        # Whatever a service raises: it only listens, and a search goes on without it.
        except Exception as error:
            lost = True
            progress.say(f"tracker {name} is left behind: {_first_line(error)}")

    return tell


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
