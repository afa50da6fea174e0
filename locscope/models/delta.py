"""What an edit changed in a model, as one file: the tuned tensors, and what they were before.

A safetensors file. Tensors stand under the keys that they have in the checkpoint, whole and in its
dtype, so that any tool can load them over the base; what they were stands under `before.` and the
same key, so that the change can be taken off again without the base. The metadata say which model
was edited, where, on what, and what was measured (the note of an edited model).
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import LocscopeError, UsageError
from locscope.models.checkpoint import Checkpoint
from locscope.models.files import CONFIG
from locscope.models.parts import Slice, put
from locscope.models.save import (
    Changes,
    refuse_not_finite,
    stored_at,
    stored_tensor,
    unstacked_changes,
)
from locscope.models.streaming.blocks import let_go
from locscope.models.weights import PLAIN, read_header
from locscope.runs.files import write_atomic_with
from locscope.runs.new_folder import DELTA
from locscope.runs.note import EditNote, note_text, parse_note
from locscope.runs.reading import Unreadable, parse_json

BEFORE = "before."
"""Begins the keys of the tensors as they were."""
NOTE, NAMES = "locscope", "parameters"
"""Keys of the metadata: the note as JSON; by key, the name of the parameter in the model."""


@dataclass(frozen=True)
class Delta:
    """The changed tensors by their keys in the checkpoint, as they were and as tuned.

    `names` are those of the parameters in the model in memory; `path` is the file.
    """

    path: Path
    note: EditNote
    names: Mapping[str, str]
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]


def delta_of(
    path: Path,
    note: EditNote,
    changes: Changes,
    checkpoint: Checkpoint | None,
    model: PreTrainedModel,
) -> Delta:
    """What the changes make of tensors of a checkpoint; of the model's own where it has no files.

    `model` is the untouched one. Raises LocscopeError where the checkpoint has no single tensor for
    a parameter, or a changed weight is not finite in its dtype.
    """
    named = dict(model.named_parameters())
    names, before, after = dict[str, str](), dict[str, Tensor](), dict[str, Tensor]()
    changes = changes if checkpoint is None else unstacked_changes(checkpoint, changes)
    for piece, values in changes.items():
        name = piece.name
        if checkpoint is None:
            key, stored = name, named[name].detach().cpu().clone()
        else:
            shard, key = stored_at(name, checkpoint)
            stored = stored_tensor(shard, key)
        names[key], before[key] = name, stored
        # Two parts of an expert can lie in one tensor.
        put(after.setdefault(key, stored.clone()), piece, values)
    for key, tensor in after.items():
        refuse_not_finite(key, tensor)
    return Delta(path, note, names, before, after)


@contextmanager
def disk_errors() -> Iterator[None]:
    """What safetensors raises where the disk refuses, as the OSError that it stands for."""
    try:
        yield
    except SafetensorError as error:
        # Its text is all that tells a full disk.
        raise OSError(str(error)) from error


def write_delta(delta: Delta) -> None:
    """Writes a delta, whole or not at all, and reads it back.

    Raises OSError where the disk refuses, LocscopeError where it gives back something else.
    """
    tensors = {key: tensor.contiguous() for key, tensor in delta.after.items()}
    tensors |= {BEFORE + key: tensor.contiguous() for key, tensor in delta.before.items()}
    metadata = {NOTE: note_text(delta.note), NAMES: json.dumps(delta.names), "format": "pt"}

    def write(partial: Path) -> None:
        with disk_errors():
            save_file(tensors, partial, metadata)
        # The library makes files that only their owner may read.
        partial.chmod(0o666 & ~_umask())
        written = _tensors(partial)
        if any(not same(written[key], tensor) for key, tensor in tensors.items()):
            raise LocscopeError(
                f"{delta.path.name} was not written as it should be (is the disk sound?): nothing "
                "is saved, choose another file"
            )

    write_atomic_with(delta.path, write)


def read_delta(path: Path) -> Delta:
    """The delta of a file. Raises UsageError where it is none, or not a whole one."""
    if not path.is_file():
        raise UsageError(f"no file '{path}': give one that `locscope edit --delta` wrote")
    if path.suffix != DELTA:
        raise _no_delta(path, f"its name does not end in {DELTA}")
    header = read_header(path)
    keys = [key for key in header if not key.startswith(BEFORE)]
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    names = _names(path, metadata, keys)
    for key in keys:
        before, after = header.get(BEFORE + key), header[key]
        if before is None or (before.dtype, before.shape) != (after.dtype, after.shape):
            raise _no_delta(path, f"it does not say what {key} was before")
        if after.dtype not in PLAIN:
            raise _no_delta(path, f"{key} is {after.dtype}, no plain numbers")
    if len(header) != 2 * len(keys):
        raise _no_delta(path, "some of its tensors belong to no change")
    note = parse_note(metadata[NOTE], path)
    tensors = _tensors(path)
    if bad := [key for key in keys if not torch.isfinite(tensors[key]).all()]:
        raise _no_delta(path, f"{bad[0]} has weights that are not finite")
    before = {key: tensors[BEFORE + key] for key in keys}
    return Delta(path, note, names, before, {key: tensors[key] for key in keys})


Stored = Callable[[Delta, str], Tensor | None]
"""Reads the tensor of a model that a delta has under a key; None where the model has none."""


def stored_in(checkpoint: Checkpoint) -> Stored:
    """The tensors of a checkpoint."""
    homes = {key: shard for shard, keys in checkpoint.shards.items() for key in keys}
    return lambda _, key: stored_tensor(homes[key], key) if key in homes else None


def held_in(model: PreTrainedModel) -> Stored:
    """Those of a model in memory, in the dtype of the delta where that loses nothing."""
    named = dict(model.named_parameters())

    def read(delta: Delta, key: str) -> Tensor | None:
        held = named.get(delta.names[key])
        if held is None:
            return None
        stored = held.detach().cpu().to(delta.before[key].dtype)
        # A weight that was tuned in float32 since is no weight of a bfloat16 checkpoint.
        return stored if torch.equal(stored.to(held.dtype), held.detach().cpu()) else held

    return read


def turned(
    deltas: Sequence[Delta],
    stored: Stored,
    model: str,
    *,
    back: bool = False,
) -> dict[str, Tensor]:
    """The changed tensors by key, after the deltas are put on in order; taken off last first for
    `back`.

    Raises UsageError, naming the tensor, where one of the deltas does not fit `model`.
    """
    now: dict[str, Tensor] = {}
    by: dict[str, Delta] = {}
    for delta in reversed(deltas) if back else deltas:
        start, end = (delta.after, delta.before) if back else (delta.before, delta.after)
        for key in start:
            found = now[key] if key in now else stored(delta, key)
            if found is None or not same(found, start[key]):
                raise UsageError(_why_not(delta, key, model, found, end[key], by.get(key), back))
            now[key], by[key] = end[key], delta
    return now


def changes_of(tensors: Mapping[str, Tensor]) -> Changes:
    """Whole tensors of a checkpoint, as they are saved into it."""
    return {
        Slice(key, None, (), tensor.numel()): tensor.reshape(-1) for key, tensor in tensors.items()
    }


@torch.no_grad()
def put_tensors(
    model: PreTrainedModel, deltas: Sequence[Delta], tensors: Mapping[str, Tensor]
) -> None:
    """Puts the tensors, by their keys, into a model in memory."""
    let_go(model)
    names = {key: name for delta in deltas for key, name in delta.names.items()}
    for key, tensor in tensors.items():
        model.get_parameter(names[key]).copy_(tensor)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal bit for bit (0.0 and -0.0 are not), dtype and shape too."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(_bits(one), _bits(other))


def _umask() -> int:
    """What new files may not be; it can only be told by setting it."""
    now = os.umask(0o077)
    os.umask(now)
    return now


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _names(path: Path, metadata: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """By key, the name of the parameter in a model in memory."""
    if NOTE not in metadata or NAMES not in metadata:
        raise _no_delta(path, f"it has no note of an edit (a model needs its {CONFIG} beside it)")
    try:
        names = parse_json(metadata[NAMES])
    except Unreadable as error:
        raise _no_delta(path, f"its '{NAMES}' are {error}") from error
    texts = isinstance(names, dict) and all(isinstance(name, str) for name in names.values())
    if not texts or set(names) != set(keys):
        raise _no_delta(path, f"its '{NAMES}' are not those of its tensors")
    return names


def _no_delta(path: Path, why: str) -> UsageError:
    return UsageError(f"'{path}' is no delta of `locscope edit --delta`: {why}")


def _why_not(
    delta: Delta,
    key: str,
    model: str,
    found: Tensor | None,
    end: Tensor,
    earlier: Delta | None,
    back: bool,
) -> str:
    """Why a delta cannot be put on a model, or be taken off it."""
    if found is None:
        # In memory experts are stacked: their tensors have other names than in the files.
        hint = "; experts go on a model's files, by `locscope apply`" if ".experts." in key else ""
        return f"{delta.path} is of another model: '{model}' has no tensor {key}{hint}"
    if same(found, end):
        where = "is not on" if back else "is already on"
        return (
            f"{delta.path} {where} '{model}': {key} is as it is {'without' if back else 'with'} it"
        )
    if earlier is not None:
        order = (
            "give them in the order in which they were put on"
            if back
            else ("put on one of them, or make the second on a model that has the first")
        )
        return f"{earlier.path} and {delta.path} both change {key}: {order}"
    if (found.dtype, found.shape) != (end.dtype, end.shape):
        sizes = [f"{one.dtype} {tuple(one.shape)}" for one in (found, end)]
        return f"{delta.path} is of another model: {key} is {sizes[0]} in '{model}', not {sizes[1]}"
    if back:
        return f"{delta.path} cannot be taken off '{model}': {key} was changed since"
    return (
        f"{delta.path} was made on another model ({delta.note.base}, digest "
        f"{delta.note.base_hash}): {key} differs in '{model}'; give that one, or take off what "
        "changed it"
    )
