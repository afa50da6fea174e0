"""Trackers: services that log every finished trial.

All that they log is in the records too; a search neither reads from them nor ends because of them.
A new one is one function here and one entry in `TRACKERS`.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

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
    service = _service("wandb")
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


@contextlib.contextmanager
def mlflow(name: str, config: Mapping[str, str], folder: Path | None) -> Iterator[Log]:
    """MLflow: a run with one inside it for every trial; MLFLOW_TRACKING_URI says where.

    Without it they lie in `mlflow.db` in the folder. Raises UsageError where mlflow is not
    installed or cannot open the run.
    """
    service = _service("mlflow")
    if folder is not None and "MLFLOW_TRACKING_URI" not in os.environ:
        service.set_tracking_uri(f"sqlite:///{folder.absolute() / 'mlflow.db'}")

    def log(row: Mapping[str, Value]) -> None:
        texts, numbers = _apart(row)
        with service.start_run(run_name=texts["id"], nested=True):
            service.log_params(texts)
            service.log_metrics(numbers)

    try:
        service.set_experiment(PROJECT)
        service.start_run(run_name=name)
        service.log_params(dict(config))
    except Exception as error:
        raise UsageError(
            f"cannot open tracker mlflow: {_first_line(error)}; set MLFLOW_TRACKING_URI to a server"
        ) from error
    try:
        yield log
    finally:
        with contextlib.suppress(Exception):
            service.end_run()


@contextlib.contextmanager
def tensorboard(name: str, config: Mapping[str, str], folder: Path | None) -> Iterator[Log]:
    """TensorBoard: `tensorboard --logdir` of the folder, each trial is a step.

    Raises UsageError where tensorboard is not installed.
    """
    _service("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer, steps = SummaryWriter(str((folder or Path("runs")) / "tensorboard" / name)), count()
    writer.add_text("settings", _listed(config), 0)

    def log(row: Mapping[str, Value]) -> None:
        texts, numbers = _apart(row)
        step = next(steps)
        writer.add_text("trial", _listed(texts), step)
        for key, value in numbers.items():
            writer.add_scalar(key, value, step)

    try:
        yield log
    finally:
        writer.close()


@contextlib.contextmanager
def trackio(name: str, config: Mapping[str, str], folder: Path | None) -> Iterator[Log]:
    """Trackio: runs lie on this machine, where TRACKIO_DIR says; `trackio show` draws them.

    Raises UsageError where trackio is not installed or cannot open the run.
    """
    del folder  # One of ours would be looked for by no `trackio show`.
    service = _service("trackio")
    # It prints how to look at a run; stdout is the result's.
    quiet = partial(contextlib.redirect_stdout, sys.stderr)
    try:
        with quiet():
            # No measures of the machine: their thread writes into the same file at the same time.
            alone = {"auto_log_cpu": False, "auto_log_gpu": False}
            opened = service.init(project=PROJECT, name=name, config=dict(config), **alone)
    except Exception as error:
        raise UsageError(f"cannot open tracker trackio: {_first_line(error)}") from error
    try:
        yield lambda row: opened.log(dict(row))
    finally:
        with contextlib.suppress(Exception), quiet():
            service.finish()


TRACKERS: dict[str, Opener] = {
    "wandb": wandb,
    "mlflow": mlflow,
    "tensorboard": tensorboard,
    "trackio": trackio,
}
"""By name, what opens a tracker: inside the block it takes rows of names and values."""


def _service(name: str) -> Any:
    """The module of a service; a UsageError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(
            f"tracker {name} needs {name}, which is not installed: pip install 'locscope[{name}]'"
        ) from None


def _apart(row: Mapping[str, Value]) -> tuple[dict[str, str], dict[str, float]]:
    """The texts of a row, and its numbers."""
    texts = {key: value for key, value in row.items() if isinstance(value, str)}
    return texts, {key: value for key, value in row.items() if not isinstance(value, str)}


def _listed(texts: Mapping[str, str]) -> str:
    """Names and values, as Markdown shows them beneath each other."""
    return "\n".join(f"- {key}: {value}" for key, value in texts.items())


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
