"""What trials need as files: a model, and a workspace about it, for other processes to map.

Weights are mapped, so that processes of one machine hold them once between them; trials never write
to them (`tuning/master_weights.py` tunes copies). A model is written once, workspaces without it.
"""

import os
import pickle
import shutil
import socket
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from locscope.errors import LocscopeError, UsageError
from locscope.evaluation.drift import NeutralTexts
from locscope.evaluation.suite import EvalSuite
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.models.load import Loaded
from locscope.runs.folder import OF_WORKERS
from locscope.tuning.workspace import Workspace, trial_threads


@final
class Handed:
    """The files of a model and of the workspaces that are in use, in a private folder of `parent`
    (without one, where temporary files lie)."""

    def __init__(self, loaded: Loaded, parent: Path | None = None) -> None:
        self._loaded = loaded
        try:
            if parent is None:
                remove_stale(Path(tempfile.gettempdir()))
            # Whose it is, for whoever finds it after that one was killed.
            prefix = f"{OF_WORKERS}{socket.gethostname()}-{os.getpid()}-"
            self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        except OSError as error:
            raise _unwritten(parent or "TMPDIR", error) from error
        self.model = self.folder / "model.pt"
        self.workspace = Path()
        self._known: list[tuple[weakref.ref[Workspace], Path]] = []
        self._written = 0

    def open(self, workspace: Workspace) -> None:
        """Has `workspace` be the file of this one; the model is untouched.

        Raises LocscopeError where there is no room.
        """
        known = [path for there, path in self._known if there() is workspace]
        if known:
            self.workspace = known[0]
            return
        self._written += 1
        self.workspace = self.folder / f"workspace-{self._written}.pt"
        if not self.model.exists():
            write_loaded(self._loaded, self.model)
            if self._loaded.model.device.type == "cpu":
                share_weights(self._loaded, self.model)
        write_workspace(workspace, self.workspace)
        # The plan's stays; of others there is one at a time.
        for entry in self._known[1:]:
            entry[1].unlink(missing_ok=True)
            self._known.remove(entry)
        # Weakly: its prefix cache is of a size to be dropped with it.
        self._known.append((weakref.ref(workspace), self.workspace))

    def close(self) -> None:
        """Takes the files away; what has mapped them keeps what it has."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_loaded(loaded: Loaded, path: Path) -> None:
    """Writes a model with its tokenizer to a file.

    Raises UsageError where a part of the model cannot be written, as code of its own may have, and
    LocscopeError where there is no room.
    """
    needed, free = weight_bytes(loaded.model), shutil.disk_usage(path.parent).free
    if free < needed:
        raise _unwritten(path.parent, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")
    try:
        _save(loaded, path)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise UsageError(
            f"model '{loaded.info.name}' cannot be handed to other processes ({error}): give "
            "--workers 1"
        ) from error


def read_loaded(path: Path, device: str = "cpu") -> Loaded:
    """The model of such a file; on the CPU its weights are mapped, not read."""
    # Our own file, from a folder that only this user may enter.
    loaded: Loaded = torch.load(path, mmap=True, map_location=device, weights_only=False)
    return replace(loaded, info=replace(loaded.info, device=str(loaded.model.device)))


def share_weights(loaded: Loaded, path: Path) -> None:
    """Has the model use the weights of its file instead of its own, which are the same."""
    written = read_loaded(path)
    for mine, theirs in zip(_tensors(loaded.model), _tensors(written.model), strict=True):
        mine.data = theirs.data


def write_workspace(workspace: Workspace, path: Path) -> None:
    """Writes all of a workspace but its model; the model must be untouched, and is asked now what
    trials want to know of it."""
    suite, cache = workspace.suite, workspace.prefix_cache
    with trial_threads(workspace.loaded.model.device):
        baseline_loss = workspace.baseline_loss
    content: dict[str, Any] = {
        "suite": _without(suite, "text_generator", "neutral"),
        "stops": suite.text_generator.stops,
        "neutral": _without(suite.neutral, "model"),
        "eval_texts": workspace.eval_texts,
        "quick": workspace.quick,
        "before": workspace.before,
        "baseline_loss": baseline_loss,
        "budget": cache.budget,
        "tokens_at_once": cache.tokens_at_once,
    }
    _save(content, path)


def read_workspace(path: Path, loaded: Loaded, workers: int = 1) -> Workspace:
    """The workspace of such a file about its model, for one of so many processes that share the
    budget of the prefix cache."""
    content: dict[str, Any] = torch.load(path, mmap=True, weights_only=False)
    model = loaded.model
    suite = EvalSuite(
        text_generator=TextGenerator(model, loaded.tokenizer, content["stops"]),
        neutral=NeutralTexts(model=model, **content["neutral"]),
        **content["suite"],
    )
    whole: Budget = content["budget"]
    on_device = whole.device if model.device.type == "cuda" else whole.device // workers
    budget = replace(whole, device=on_device, host=whole.host // workers)
    # Batches decide the last digits of sums, so they are those of the whole budget.
    cache = PrefixCache(model, suite.packed, budget, content["tokens_at_once"])
    found = Workspace(loaded, suite, cache, content["eval_texts"], quick=content["quick"])
    # Of cached properties: the untouched model was asked by whoever wrote the file.
    found.__dict__.update(before=content["before"], baseline_loss=content["baseline_loss"])
    return found


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers."""
    return sum(tensor.nbytes for tensor in _tensors(model))


def remove_stale(parent: Path) -> None:
    """Removes the folders of this user's processes that were killed on this machine."""
    for folder in parent.glob(f"{OF_WORKERS}{socket.gethostname()}-*"):
        process = folder.name.removeprefix(f"{OF_WORKERS}{socket.gethostname()}-").split("-")[0]
        try:
            if process.isdecimal() and folder.lstat().st_uid == os.getuid():
                os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, OverflowError):
            continue  # It is in use, or was taken away meanwhile.


def _save(content: Any, path: Path) -> None:
    """Writes to a file; a LocscopeError where that cannot be done."""
    try:
        torch.save(content, path)
    except (OSError, RuntimeError) as error:
        # Torch's own writer tells of a full disk with an assertion.
        path.unlink(missing_ok=True)
        raise _unwritten(path.parent, error) from error


def _unwritten(folder: Path | str, why: object) -> LocscopeError:
    reason = str(why).strip().splitlines()[0]
    return LocscopeError(
        f"the files of workers cannot be written to {folder} ({reason}): make room there, set "
        "TMPDIR to another disk, or give --workers 1"
    )


def _without(record: Any, *names: str) -> dict[str, Any]:
    """The fields of a record but for those."""
    return {name: value for name, value in vars(record).items() if name not in names}


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
