"""Whether trials run side by side, and in how many processes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from locscope.errors import UsageError
from locscope.execution.handed import weight_bytes
from locscope.execution.local import usable_cores
from locscope.execution.processes import Processes
from locscope.execution.ray_team import LOCAL, RayTeam
from locscope.models.load import Loaded
from locscope.models.streaming.blocks import streaming_of
from locscope.models.streaming.way import free_bytes
from locscope.plugins import only_here
from locscope.progress import Progress
from locscope.tuning.trial_cost import blocks_of
from locscope.tuning.workspace import Workspace

LONG = 1e10
"""Operations of one pass over all texts below which trials take less time than processes to begin:
a second or so of a core."""
PROCESS_BYTES = 500 << 20
"""Of a process before it opens a model, with torch 2.13 for the CPU: the libraries."""
TUNED_BYTES = 20
"""Of a weight that is tuned: itself, its master, the gradient, and two numbers of Adam."""
IN_TRIALS = ("measure", "recipe")
"""Kinds of what may be registered in this process alone, and a trial may want."""


@runtime_checkable
class Asked(Protocol):
    """The settings that say how trials are run."""

    @property
    def workers(self) -> int | None:
        """Trials side by side; None: as many as pay."""
        ...

    @property
    def ray(self) -> str | None:
        """The address of a Ray cluster to run them on; None: here."""
        ...

    @property
    def device(self) -> str:
        """The device as it was asked for."""
        ...


def team_for(
    workspace: Workspace, settings: Asked, progress: Progress, folder: Path
) -> Processes | RayTeam | None:
    """What trials on a workspace run in, not begun yet; None where this process runs them.

    What was registered in this process alone (a notebook's measure) keeps trials here. Machines of
    a cluster may all reach the `folder` of the run. Raises UsageError where others were asked for
    and cannot have the model's classes.
    """
    workers, asked = settings.workers, settings.workers is not None or settings.ray is not None
    devices = devices_for(workspace, settings.device, twice=not asked)
    if not asked:
        workers = most_workers(workspace, devices) if is_long(workspace) else 1
    if workers == 1 and settings.ray is None:
        return None
    here = only_here(IN_TRIALS)
    reason = f"others lack {', '.join(here)}" if here else ""
    if streaming_of(workspace.loaded.model) is not None:
        reason = "its model is streamed, which fills the device once"
    if not reason and (own := classes_of_main(workspace.loaded)):
        reason = f"others cannot import {', '.join(own)} of this program or notebook"
        if asked:
            raise UsageError(f"{reason}: give --workers 1, or move them to a module")
    if reason:
        progress.say(f"trials run in this process: {reason}")
        return None
    if settings.ray is not None:
        home = None if settings.ray == LOCAL else folder
        return RayTeam(workspace.loaded, settings.ray, settings.workers, home)
    return Processes(workspace.loaded, workers or 1, devices, asked=asked)


def is_long(workspace: Workspace) -> bool:
    """Whether trials take longer than processes do to begin."""
    tokens = workspace.suite.packed.ids.numel()
    return 2.0 * workspace.loaded.info.parameters * tokens > LONG


def classes_of_main(loaded: Loaded) -> list[str]:
    """Classes of the model and its tokenizer that no other process can import."""
    used = {type(module) for module in loaded.model.modules()} | {type(loaded.tokenizer)}
    return sorted(kind.__qualname__ for kind in used if kind.__module__ == "__main__")


def devices_for(workspace: Workspace, device: str, *, twice: bool) -> list[str]:
    """Devices for processes: the one that was named, else all GPUs, where `twice` is asked the
    model's own only if the weights fit there once more."""
    own = workspace.loaded.info.device
    if workspace.loaded.model.device.type != "cuda" or device not in ("auto", "cuda"):
        return [own]
    model = workspace.loaded.model
    full = twice and torch.cuda.mem_get_info(model.device)[0] < weight_bytes(model)
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [name for name in found if not (full and name == own)] or [own]


def most_workers(workspace: Workspace, devices: Sequence[str]) -> int:
    """Processes that pay: one for each GPU, or for each core on a CPU, as far as memory goes."""
    on = workspace.loaded.model.device
    if on.type == "cuda":
        return len(devices)
    if on.type != "cpu":
        return 1
    room = available_bytes() // worker_bytes(workspace)
    # As many as torch would have threads: who set fewer meant to use fewer cores.
    return max(1, min(torch.get_num_threads(), usable_cores(), room))


def worker_bytes(workspace: Workspace) -> int:
    """Memory of a process besides the weights, about: all share those. The prefix cache with as
    many copies as the budget has room for, and tuning a whole block."""
    info, cache = workspace.loaded.info, workspace.prefix_cache
    itemsize = workspace.loaded.model.dtype.itemsize
    stream = workspace.suite.packed.ids.numel() * info.width * itemsize
    block = blocks_of(info) // info.layers
    return PROCESS_BYTES + 2 * min(stream, cache.budget.device) + TUNED_BYTES * block


def available_bytes() -> int:
    """Memory that is free, about, or can be freed; of the whole machine where nothing tells."""
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(free_bytes(torch.device("cpu")), everything))
