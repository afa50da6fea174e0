"""A team on a Ray cluster: trials on actors that hold the model once, one per GPU or core.

Nothing of a run lies in the cluster: this process hands out trials and alone writes records. Files
of model and workspace are read by their path where it leads to them, as on a shared file system;
other machines get them once through Ray's object store. Needs the extra `ray`.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from locscope.errors import LocscopeError, UsageError
from locscope.execution.dispatch import Event
from locscope.execution.handed import Handed
from locscope.execution.ray_actor import Actor, ray
from locscope.execution.worker import Task
from locscope.models.load import Loaded
from locscope.records import Trial
from locscope.scoring.objectives import Objective
from locscope.tuning.workspace import Workspace

LOCAL = "local"
"""The address of a cluster of this machine, which is begun here and ends here."""
MOMENT = 0.5
"""Seconds that are waited for events, at most."""
NOTICED = 1.0
"""Seconds after which a cluster knows that a machine is gone, of which an actor is."""
CLEANING = 5.0
"""Seconds that machines have to take away what was sent to them."""
VAIN = 3
"""Actors, for each place in the cluster, that may end before they are ready."""


@final
class RayTeam:
    """A team (`execution/dispatch.py`) of as many actors as the cluster has places for, or so many
    `workers` at most. Machines that join later get theirs; what one that goes had runs elsewhere.
    """

    def __init__(
        self, loaded: Loaded, address: str, workers: int | None = None, home: Path | None = None
    ) -> None:
        self.layers: dict[str, int] = {}
        self._loaded, self._address, self._most, self._home = loaded, address, workers, home
        self._files: Handed | None = None
        self._actors: dict[str, Any] = {}
        self._asked: dict[Any, str] = {}
        self._tasks: dict[str, Task] = {}
        self._sent: dict[Path, Any] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._begun, self._vain, self._ours = 0, 0, False

    @property
    def workers(self) -> int:
        """Places that the cluster has now, or the most that were asked for."""
        if self._files is None:
            return self._most or 1
        kind = "GPU" if self._on_gpu else "CPU"
        there = int(ray().cluster_resources().get(kind, 0))
        return there if self._most is None else min(there, self._most)

    def start(self) -> None:
        """Connects, and begins an actor for each place that the cluster has.

        Raises UsageError where Ray is not installed, or there is no cluster at the address.
        """
        if self._files is not None:
            return
        self._ours = connect(self._address, self._most)
        self._files = Handed(self._loaded, self._home)
        self._fill()

    def open(self, workspace: Workspace, trials: int | None = None) -> None:
        """Trials that are given from here on are about this workspace."""
        del trials  # One for each place of the cluster, however many there are.
        self.start()
        self.files.open(workspace)

    def give(self, member: str, trial: Trial, objective: Objective, *, alone: bool) -> None:
        """Hands a trial to a member that is ready."""
        task = Task(self.files.model, self.files.workspace, trial, objective, alone)
        self._tasks[member] = task
        self._ask(member)

    def events(self, *, wait: bool) -> list[Event]:
        """What was told since; waits a moment for the first where it shall."""
        self._fill()
        asked = list(self._asked)
        if not asked:
            return []
        told, _ = ray().wait(asked, num_returns=1, timeout=MOMENT if wait else 0)
        return [event for one in told for event in self._events(one, self._asked.pop(one))]

    def close(self) -> None:
        """Ends all actors, and the cluster where it was begun here; takes the files away."""
        if self._files is None:
            return
        if self._sent:
            ray().wait(
                [one.clean.remote(self.files.folder.name) for one in self._actors.values()],
                num_returns=len(self._actors),
                timeout=CLEANING,
            )
        for actor in self._actors.values():
            ray().kill(actor, no_restart=True)
        for known in (self._actors, self._asked, self._tasks, self._sent, self._nodes, self.layers):
            known.clear()
        self._files.close()
        self._files, self._vain = None, 0
        if self._ours:
            with _own_signals():
                ray().shutdown()

    @property
    def files(self) -> Handed:
        """What the actors read, once it was started."""
        assert self._files is not None, "started"
        return self._files

    @property
    def _on_gpu(self) -> bool:
        return self._loaded.model.device.type == "cuda"

    def _fill(self) -> None:
        """An actor for each place of the cluster that has none."""
        missing = self.workers - len(self._actors)
        # Two at once, so that a busy one can be told to clean.
        needs = {"num_cpus": 1, "num_gpus": int(self._on_gpu), "max_restarts": 0}
        kind: Any = ray().remote(Actor).options(**needs, max_concurrency=2)
        device = "cuda:0" if self._on_gpu else self._loaded.info.device
        for _ in range(missing):
            self._begun += 1
            name = f"{self._begun}"
            self._actors[name] = kind.remote(device, self.workers)
            self._asked[self._actors[name].ready.remote()] = name

    def _ask(self, member: str) -> None:
        task = self._tasks[member]
        # By path where it leads to the files; where it did not, what was sent is looked for.
        self._asked[self._actors[member].run.remote(task, self._sent)] = member

    def _events(self, answer: Any, member: str) -> Iterator[Event]:
        """What an answer of a member tells; nothing where it is that it is ready."""
        try:
            told = ray().get(answer)
        except ray().exceptions.RayError as error:
            yield self._gone(member, error)
            return
        if isinstance(told, str):
            address, node = told.split()
            self._nodes[member], self.layers[member] = (address, node), -1
            yield Event("said", member, f"Ray: {self._load()}")
            return
        kind, value, lines = told
        yield from (Event("said", member, line) for line in lines)
        if kind == "missing":
            for path in value:
                if path not in self._sent:
                    self._sent[path] = ray().put(path.read_bytes())
            self._ask(member)
            return
        yield Event(kind, member, value)

    def _gone(self, member: str, error: Exception) -> Event:
        """A member ended, with its machine or alone. Raises LocscopeError where none gets ready."""
        # One that is out of reach may come back, and would hold a place that another has then.
        ray().kill(self._actors.pop(member), no_restart=True)
        _, node = self._nodes.pop(member, ("", ""))
        why = str(error).strip().splitlines()[-1].strip()
        if self.layers.pop(member, None) is None:
            self._vain += 1
            if self._vain > VAIN * max(1, self.workers):
                raise LocscopeError(
                    f"actors on the Ray cluster {self._address} end before they are ready ({why}): "
                    "its machines need the same Python, locscope and torch as this one"
                )
        unreachable = isinstance(error, ray().exceptions.ActorUnavailableError)
        if not unreachable:
            time.sleep(NOTICED)
        if unreachable or node not in _live_nodes():
            return Event("parted", member, "its machine is gone or out of reach")
        return Event("lost", member, why)

    def _load(self) -> str:
        """How many workers are ready on which machine."""
        counts = Counter(address for address, _ in self._nodes.values())
        where = ", ".join(f"{count} on {address}" for address, count in sorted(counts.items()))
        return f"{len(self._nodes)} workers ready: {where}"


def _live_nodes() -> set[str]:
    return {one["NodeID"] for one in ray().nodes() if one["Alive"]}


def connect(address: str, workers: int | None) -> bool:
    """Connects to the cluster, or begins one on this machine; whether it did.

    Raises UsageError where Ray is not installed, or nothing answers at the address.
    """
    if ray().is_initialized():
        return False
    # Actors import this package from where this process has it.
    os.environ["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    # Of a cluster that is there its own head says how many places it has.
    begun = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
    with _own_signals():
        try:
            options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False, **begun}
            ray().init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            said = str(error).strip().splitlines()[0]
            raise UsageError(
                f"no Ray cluster lets us in at '{address}' ({said}): give the address that `ray "
                "start --head` said, auto or local; where it asks for tokens, RAY_AUTH_MODE=token"
            ) from error
    return True


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps this process's handlers of signals, which Ray sets anew."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
