"""Whether trials run side by side, and in how many processes."""

import os
from typing import Protocol

import torch

from locscope.execution.processes import Processes
from locscope.plugins import only_here
from locscope.progress import Progress
from locscope.tuning.workspace import Workspace

LONG = 1e10
"""Operations of one pass over all texts below which trials take less time than processes to begin:
a second or so of a core."""
PROCESS_BYTES = 600 << 20
"""Of a worker besides its activations: libraries, and what tuning a matrix takes."""
IN_TRIALS = ("measure", "recipe")
"""Kinds of what may be registered in this process alone, and a trial may want."""


class Asked(Protocol):
    """The settings that say how trials are run."""

    @property
    def workers(self) -> int | None:
        """Trials side by side; None: as many as pay."""
        ...

    @property
    def device(self) -> str:
        """The device as it was asked for."""
        ...


def team_for(workspace: Workspace, settings: Asked, progress: Progress) -> Processes | None:
    """The processes that trials on a workspace run in, not begun yet; None where this one does.

    What was registered in this process alone (a notebook's measure) keeps trials here.
    """
    workers = settings.workers
    if workers is None:
        workers = most_workers(workspace, settings.device) if is_long(workspace) else 1
    if workers == 1:
        return None
    here = only_here(IN_TRIALS)
    if here:
        progress.say(f"trials run in this process: others lack {', '.join(here)}")
        return None
    return Processes(workspace.loaded, workers)


def is_long(workspace: Workspace) -> bool:
    """Whether trials take longer than processes do to begin."""
    tokens = workspace.suite.packed.ids.numel()
    return 2.0 * workspace.loaded.info.parameters * tokens > LONG


def most_workers(workspace: Workspace, device: str) -> int:
    """Processes that pay: one for each GPU, or for each core on a CPU, as far as memory goes."""
    on = workspace.loaded.model.device
    if on.type == "cuda":
        return torch.cuda.device_count() if device in ("auto", "cuda") else 1
    if on.type != "cpu":
        return 1
    stream = workspace.suite.packed.ids.numel() * workspace.loaded.info.width * on_bytes(workspace)
    room = available_bytes() // (PROCESS_BYTES + 2 * stream)
    # As many as torch would have threads: who set fewer meant to use fewer cores.
    return max(1, min(torch.get_num_threads(), usable_cores(), int(room)))


def on_bytes(workspace: Workspace) -> int:
    """Bytes of a number of the model."""
    return workspace.loaded.model.dtype.itemsize


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """Memory that is free, about, or can be freed; of the whole machine where nothing tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        return int(found["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
