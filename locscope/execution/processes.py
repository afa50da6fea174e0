"""Worker processes on this machine: trials side by side, one at a time in each.

Each is a new interpreter in a session of its own, so that Ctrl-C in a terminal is this process's
alone; it ends with its connection, so none outlives this process. Model and workspaces lie in a
private folder, from which all of them map the same weights.
"""

import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import final

from locscope.execution.dispatch import Event
from locscope.execution.handed import Handed
from locscope.execution.local import THREADS_ALONE
from locscope.execution.worker import Task
from locscope.models.load import Loaded
from locscope.records import Trial
from locscope.scoring.objectives import Objective
from locscope.tuning.workspace import Workspace

MOMENT = 0.5
"""Seconds that are waited for events, at most."""
PROGRAM = """import sys
sys.path[:] = {path!r}
from locscope.execution.worker import main
main({number}, {folder!r}, {device!r}, {workers})
"""


@final
class _Member:
    """A worker process, this end of its connection, and the file of what it writes to stderr."""

    def __init__(self, folder: Path, name: str, device: str, workers: int) -> None:
        mine, its = Pipe()
        self.connection: Connection = mine
        self._log = folder / f"worker-{name}.log"
        program = PROGRAM.format(
            path=[entry or os.getcwd() for entry in sys.path],
            number=its.fileno(),
            folder=str(folder),
            device=device,
            workers=workers,
        )
        threads = {"OMP_NUM_THREADS": str(THREADS_ALONE)} if device == "cpu" else {}
        try:
            with self._log.open("wb") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", program],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(its.fileno(),),
                    start_new_session=True,
                    env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false"},
                )
        finally:
            its.close()

    def end(self) -> str:
        """Ends it, if it has not ended; why it did."""
        # Killed first: where its connection ends, it takes the files away.
        self.process.kill()
        code = self.process.wait()
        self.connection.close()
        if code < 0:
            return f"signal {-code} ({signal.Signals(-code).name})"
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"exit code {code}" + (f": {said[-1]}" if said else "")


@final
class Processes:
    """A team (`execution/dispatch.py`) of so many processes about one model.

    Those that end are replaced, as many times as there are workers.
    """

    def __init__(self, loaded: Loaded, workers: int) -> None:
        self.layers: dict[str, int] = {}
        self.workers = workers
        self._loaded = loaded
        self._files: Handed | None = None
        self._members: dict[str, _Member] = {}
        self._begun = 0

    def start(self) -> None:
        """Begins all processes, which takes them some seconds; does nothing where it was done."""
        if self._files is None:
            self._files = Handed(self._loaded)
            for _ in range(self.workers):
                self._begin()

    def open(self, workspace: Workspace) -> None:
        """Trials that are given from here on are about this workspace."""
        self.start()
        self.files.open(workspace)

    def give(self, member: str, trial: Trial, objective: Objective) -> None:
        """Hands a trial to a member that is ready."""
        try:
            task = Task(self.files.model, self.files.workspace, trial, objective)
            self._members[member].connection.send(task)
        except OSError:
            return  # It is gone, which its connection tells with the other events.

    def events(self, *, wait: bool) -> list[Event]:
        """What was told since; waits a moment for the first where it shall."""
        by_connection = {one.connection: name for name, one in self._members.items()}
        told = _wait(list(by_connection), MOMENT if wait else 0)
        found = [self._event(by_connection[connection]) for connection in told]
        return [event for event in found if event is not None]

    def close(self) -> None:
        """Ends all processes and takes their files away."""
        members, files = list(self._members.values()), self._files
        self._members.clear()
        self.layers.clear()
        self._files, self._begun = None, 0
        for member in members:
            member.end()
        if files is not None:
            files.close()

    @property
    def files(self) -> Handed:
        """What the processes map, once they were started."""
        assert self._files is not None, "started"
        return self._files

    def _event(self, name: str) -> Event | None:
        """What a member that has something to tell tells; None where it is that it is ready."""
        try:
            kind, value = self._members[name].connection.recv()
        except (EOFError, OSError):
            why = self._members.pop(name).end()
            self.layers.pop(name, None)
            if self._begun < 2 * self.workers:
                self._begin()
            return Event("lost", name, why)
        if kind == "ready":
            self.layers[name] = -1
            return None
        return Event(kind, name, value)

    def _begin(self) -> None:
        name, number = str(self._begun + 1), self._begun % self.workers
        self._begun += 1
        on = self._loaded.info.device
        if on == "cuda:0":
            import torch

            on = f"cuda:{number % torch.cuda.device_count()}"
        self._members[name] = _Member(self.files.folder, name, on, self.workers)


def _wait(connections: list[Connection], seconds: float) -> list[Connection]:
    """Those of the connections that have something to be read, or have ended."""
    return [one for one in wait(connections, seconds) if isinstance(one, Connection)]
