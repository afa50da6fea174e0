"""Worker processes on this machine: trials side by side, one at a time in each.

Each is a new interpreter in a session of its own, so that Ctrl-C in a terminal is this process's
alone; it ends with its connection, so none outlives this process. Model and workspaces lie in a
private folder, from which all of them map the same weights.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import final

from locscope.errors import LocscopeError
from locscope.execution.dispatch import Event
from locscope.execution.handed import Handed
from locscope.execution.local import usable_cores
from locscope.execution.worker import Task
from locscope.models.load import Loaded
from locscope.records import Trial
from locscope.scoring.objectives import Objective
from locscope.tuning.workspace import THREADS_ALONE, Workspace

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
        self.device = device
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
    """A team (`execution/dispatch.py`) of so many processes about one model, on these `devices` in
    turn (without any, on the model's).

    Those that end are replaced, as many times as there are workers. Where none was `asked` for,
    what keeps them from opening the model ends the team, with a line, instead of the search.
    """

    def __init__(
        self, loaded: Loaded, workers: int, devices: Sequence[str] = (), *, asked: bool = True
    ) -> None:
        self.layers: dict[str, int] = {}
        self.workers = workers
        self._loaded, self._devices, self._asked = loaded, devices or [loaded.info.device], asked
        self._files: Handed | None = None
        self._members: dict[str, _Member] = {}
        self._begun, self._replaced = 0, 0
        self._answered, self._ended, self._told = False, False, list[Event]()

    def start(self, most: int | None = None) -> None:
        """Begins processes, which takes them some seconds: one a core, or so many at most."""
        try:
            if self._files is None and not self._ended:
                self._files = Handed(self._loaded)
            self._fill(min(self.workers, usable_cores() if most is None else most))
        except (LocscopeError, OSError) as error:
            self._fail(error)

    def open(self, workspace: Workspace, trials: int | None = None) -> None:
        """Trials that are given from here on, at most so many, are about this workspace."""
        self.start(self.workers if trials is None else trials)
        try:
            if not self._ended:
                self.files.open(workspace)
        except (LocscopeError, OSError) as error:
            self._fail(error)

    def give(self, member: str, trial: Trial, objective: Objective, *, alone: bool) -> None:
        """Hands a trial to a member that is ready."""
        try:
            task = Task(self.files.model, self.files.workspace, trial, objective, alone)
            self._members[member].connection.send(task)
        except OSError:
            return  # It is gone, which its connection tells with the other events.

    def events(self, *, wait: bool) -> list[Event]:
        """What was told since; waits a moment for the first where it shall."""
        before = self._take_told()
        by_connection = {one.connection: name for name, one in self._members.items()}
        told = _wait(list(by_connection), MOMENT if wait and not before else 0.0)
        found = [
            self._event(by_connection[connection])
            for connection in told
            if by_connection[connection] in self._members
        ]
        return [*before, *(event for event in found if event is not None), *self._take_told()]

    def close(self) -> None:
        """Ends all processes and takes their files away."""
        members, files = list(self._members.values()), self._files
        self._members.clear()
        self.layers.clear()
        self._files, self._begun, self._replaced = None, 0, 0
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
            device = self._members[name].device
            why = self._end(name)
            if self._replaced < self.workers and not self._ended:
                self._replaced += 1
                self._begin(device)
            return Event("lost", name, why)
        if kind == "ready":
            self.layers[name] = -1
            return None
        self._answered |= kind == "record"
        if kind == "unopened":
            return self._unopened(name, value)
        return Event(kind, name, value)

    def _unopened(self, name: str, error: LocscopeError) -> Event | None:
        """What follows where a member cannot open the model: those that can go on."""
        if self._asked:
            return Event("failed", name, error)
        if not self._answered:
            self._fail(error)
            return None
        self._end(name)
        return Event("parted", name, str(error))

    def _fail(self, error: LocscopeError | OSError) -> None:
        """The team ends; raises a LocscopeError where it was asked for."""
        if not isinstance(error, LocscopeError):
            reason = f"worker processes cannot be started ({error}): give --workers 1"
            error = LocscopeError(reason)
        if self._asked:
            raise error
        self._ended = True
        self.close()
        self._told.append(Event("alone", "", str(error)))

    def _take_told(self) -> list[Event]:
        told, self._told = self._told, []
        return told

    def _end(self, name: str) -> str:
        """Ends a member; why it did."""
        self.layers.pop(name, None)
        return self._members.pop(name).end()

    def _fill(self, most: int) -> None:
        """Begins those that are missing of so many; ones that ended in vain are not."""
        for _ in range(0 if self._ended else most + self._replaced - self._begun):
            self._begin(self._devices[self._begun % len(self._devices)])

    def _begin(self, device: str) -> None:
        self._begun += 1
        name = str(self._begun)
        self._members[name] = _Member(self.files.folder, name, device, self.workers)


def _wait(connections: list[Connection], seconds: float) -> list[Connection]:
    """Those of the connections that have something to be read, or have ended."""
    return [one for one in wait(connections, seconds) if isinstance(one, Connection)]
