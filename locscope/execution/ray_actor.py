"""What runs on the machines of a Ray cluster: a process that holds the model and runs trials."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, final

from locscope.errors import LocscopeError, UsageError
from locscope.execution.dispatch import Told
from locscope.execution.worker import Bench, Task, sendable


def ray() -> Any:
    """Ray, of the extra of that name; a UsageError where it is not installed."""
    try:
        return import_module("ray")
    except ImportError as error:
        raise UsageError(
            "--ray needs Ray, which is not installed: pip install 'locscope[ray]'"
        ) from error


def sent_to(name: str) -> Path:
    """Where a machine keeps what was sent to it, of a folder of files of that name."""
    return Path(tempfile.gettempdir()) / f"{name}-sent"


def make_private(folder: Path) -> None:
    """Makes a folder that only this user may enter.

    Raises LocscopeError where another one is there: what lies in it is code to whoever loads it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LocscopeError(
            f"{folder} is not a folder of this user alone, and files for workers are not read "
            "from it: remove it, or set TMPDIR on that machine to another folder"
        )


@final
class Actor:
    """What runs in the cluster: a bench, and the files that were sent to its machine."""

    def __init__(self, device: str, workers: int) -> None:
        self._bench = Bench(device, workers)

    def ready(self) -> str:
        """The address of its machine, once all libraries are in memory."""
        import locscope.execution.local  # noqa: F401
        from locscope.plugins import load_plugins

        load_plugins()
        return f"{ray().util.get_node_ip_address()} {ray().get_runtime_context().get_node_id()}"

    def run(self, task: Task, sent: Mapping[Path, Any]) -> tuple[str, Any, list[str]]:
        """Kind of event, its value, and lines to be said; kind `missing` is for files that are not
        here and were not sent (the objects of `sent`)."""
        lines: list[str] = []
        try:
            wanted = {path: self._here(path, sent) for path in (task.loaded, task.workspace)}
            missing = [path for path, here in wanted.items() if here is None]
            if missing:
                return "missing", missing, []
            task = task._replace(loaded=wanted[task.loaded], workspace=wanted[task.workspace])
            return "record", self._bench.run(task, Told(lines.append)), lines
        except BaseException as error:
            return "failed", sendable(error), lines

    def clean(self, name: str) -> None:
        """Takes the folder of that name away, where files that were sent lie."""
        shutil.rmtree(sent_to(name), ignore_errors=True)

    def _here(self, path: Path, sent: Mapping[Path, Any]) -> Path | None:
        """Where this machine has the file: at its path, or where it was put when it was sent."""
        # Another user of this machine, say, may not enter the folder.
        if os.access(path, os.R_OK):
            return path
        # A name of its own, as the folder has: other actors of the machine find it there.
        copy = sent_to(path.parent.name) / path.name
        if not copy.exists() and path in sent:
            make_private(copy.parent)
            partial = copy.with_suffix(f".{os.getpid()}")
            partial.write_bytes(ray().get(sent[path]))
            partial.replace(copy)
        if not copy.parent.exists():
            return None
        make_private(copy.parent)
        return copy if copy.exists() else None
