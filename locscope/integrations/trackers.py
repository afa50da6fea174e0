"""Trackers: services that log every finished trial.

All that they log is in the records too; a search neither reads from them nor ends because of them.
A new one is one function here and one entry in `TRACKERS`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from math import isnan
from pathlib import Path

from locscope.errors import UsageError, unknown
from locscope.integrations.optuna_study import attributes
from locscope.progress import Progress, Silent
from locscope.records import TrialRecord

Value = str | int | float
Log = Callable[[Mapping[str, Value]], None]
Opener = Callable[[str, Mapping[str, str], Path | None], AbstractContextManager[Log]]
"""Takes a run's name, its settings, and the folder for the tracker's own files."""
PROJECT = "locscope"


@contextlib.contextmanager
def wandb(name: str, config: Mapping[str, str], folder: Path | None) -> Iterator[Log]:
    """Weights & Biases; WANDB_MODE=offline keeps everything here, `wandb sync` sends it later.

    Raises UsageError where wandb is not installed or cannot open the run.
    """
    try:
        import wandb as service
    except ImportError:
        raise UsageError(
            "tracker wandb needs wandb, which is not installed: pip install wandb"
        ) from None
    try:
        opened = service.init(
            project=PROJECT,
            name=name,
            config=dict(config),
            dir=str(folder) if folder else None,
            # Else it writes to the terminal and captures what is printed there.
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


TRACKERS: dict[str, Opener] = {"wandb": wandb}
"""By name, what opens a tracker: inside the block it takes rows of names and values."""


def check_tracker(name: str) -> None:
    """Raises UsageError, with near names, where there is no such tracker."""
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

    `config` are the run's settings, `folder` is where the tracker keeps its own files. After a
    tracker fails it is no longer called; `progress` is told once. Raises UsageError where the name
    is unknown or the tracker cannot be opened.
    """
    check_tracker(name)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with TRACKERS[name](run_name, config, folder) as log:
        yield _listener(name, log, progress or Silent())


def row_of(record: TrialRecord) -> dict[str, Value]:
    """What a tracker logs of a trial: location, recipe, score, measures that have a value."""
    row: dict[str, Value] = {
        "location": str(record.trial.location),
        "lr": record.trial.recipe.lr,
        **attributes(record),
    }
    return row if isnan(record.score) else {**row, "score": record.score}


def _listener(name: str, log: Log, progress: Progress) -> Callable[[TrialRecord], None]:
    failed = False

    def tell(record: TrialRecord) -> None:
        nonlocal failed
        if failed:
            return
        try:
            log(row_of(record))
        # Whatever a service raises: it only listens, and a search goes on without it.
        except Exception as error:
            failed = True
            progress.say(f"tracker {name} is left behind: {_first_line(error)}")

    return tell


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
