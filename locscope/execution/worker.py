"""A process that runs trials for another one: what `execution/processes.py` starts.

It has a connection to that one and no other channel: tasks come in, records go out. Where the
connection ends, so does the process, at whatever it is.
"""

import os
import pickle
import shutil
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, final

from locscope.errors import LocscopeError
from locscope.progress import Progress
from locscope.records import Trial, TrialRecord
from locscope.scoring.objectives import Objective

if TYPE_CHECKING:
    from locscope.models.load import Loaded
    from locscope.tuning.workspace import Workspace


class Task(NamedTuple):
    """A trial to run, with the files of its model and workspace (`execution/handed.py`)."""

    loaded: Path
    workspace: Path
    trial: Trial
    objective: Objective
    alone: bool = False


@final
class Unopened(LocscopeError):
    """A process cannot have what it is handed, which no trial is the reason of."""


@final
class Bench:
    """The model and the workspace that a process has open, of so many that share a budget."""

    def __init__(self, device: str, workers: int) -> None:
        self._device, self._workers = device, workers
        self._loaded: tuple[Path, Loaded] | None = None
        self._open: tuple[Path, Workspace] | None = None

    def run(self, task: Task, progress: Progress) -> TrialRecord:
        """The record of a task's trial. Raises what the trial raises, and Unopened where the model
        or the workspace cannot be opened."""
        from locscope.execution.local import run_trials

        records: list[TrialRecord] = []
        try:
            workspace = self._workspace(task)
        except Exception as error:
            raise unopened("the model", error) from error
        run_trials(
            workspace,
            "",
            [task.trial],
            records.append,
            progress,
            objective=task.objective,
            alone=task.alone,
        )
        return records[0]

    def _workspace(self, task: Task) -> "Workspace":
        from locscope.execution.handed import read_loaded, read_workspace

        if self._loaded is None or self._loaded[0] != task.loaded:
            self._loaded = task.loaded, read_loaded(task.loaded, self._device)
            self._open = None
        if self._open is None or self._open[0] != task.workspace:
            # The hidden states of two suites would not fit the budget: one of them goes first.
            self._open = None
            found = read_workspace(task.workspace, self._loaded[1], self._workers)
            self._open = task.workspace, found
        return self._open[1]


def main(number: int, folder: str, device: str, workers: int) -> None:
    """Runs what comes in until the connection of that number ends, in which the `folder` of files
    goes where the other end was killed."""
    connection = Connection(number)
    tasks: SimpleQueue[Task | Unopened] = SimpleQueue()
    Thread(target=_listen, args=(connection, tasks, folder), daemon=True).start()
    from locscope.execution.dispatch import Told
    from locscope.plugins import load_plugins

    progress = Told(lambda line: connection.send(("said", line)))
    warnings.showwarning = lambda message, *_: progress.say(f"warning: {message}")
    load_plugins()
    bench = Bench(device, workers)
    connection.send(("ready", None))
    while True:
        task = tasks.get()
        try:
            if isinstance(task, Unopened):
                raise task
            answer: tuple[str, Any] = ("record", bench.run(task, progress))
        except Unopened as error:
            answer = ("unopened", sendable(error))
        except BaseException as error:
            answer = ("failed", sendable(error))
        connection.send(answer)


def unopened(what: str, error: Exception) -> Unopened:
    """That a worker cannot open something, for that reason."""
    reason = (str(error).strip().splitlines() or [""])[0]
    return Unopened(
        f"a worker process cannot open {what} ({type(error).__name__}: {reason}): give --workers 1"
    )


def sendable(error: BaseException) -> BaseException:
    """The error as another process can have it, with its traceback as a note."""
    told = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a worker process:\n{told}")
    return error


def _listen(connection: Connection, tasks: "SimpleQueue[Task | Unopened]", folder: str) -> None:
    """Hands on what comes in; ends the process where nothing can come any more."""
    try:
        while True:
            received = connection.recv_bytes()
            try:
                tasks.put(pickle.loads(received))
            except Exception as error:
                tasks.put(unopened("its task", error))
    except (EOFError, OSError):
        # Killed, the other end could not take its files away.
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(1)
