"""Saving an edited model: the base's files as they are, with the tuned tensors replaced.

Of a model in several files those alone are written that hold a tuned tensor; the others are
hard-linked where that is possible, else copied. No file is loaded whole.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import LocscopeError
from locscope.models.checkpoint import Checkpoint
from locscope.models.files import CONFIG, belonging, open_own
from locscope.models.parts import Slice, put
from locscope.models.streaming.blocks import let_go
from locscope.models.structure.stored import unstacked, windows
from locscope.runs.files import sync
from locscope.runs.new_folder import can_be_linked

_IN_BLOCK = re.compile(r"(?:layers|h)\.\d+\..+$")
_OTHER_PARTS = re.compile(r"vision|audio|multi_modal")
"""In keys of the other parts of a model of several, whose blocks have the names of ours."""
_BLOCK = 2**20


Changes = Mapping[Slice, Float[Tensor, " _"]]
"""The weights of slices as they shall be (on the host), as many as each slice has."""


def put_changes(model: PreTrainedModel, changes: Changes) -> None:
    """Puts the changed weights into a model in memory, or into what a streamed one reads."""
    let_go(model)
    named = dict(model.named_parameters())
    for piece, values in changes.items():
        put(named[piece.name], piece, values)


def check_savable(checkpoint: Checkpoint, names: Iterable[str]) -> None:
    """A LocscopeError where the checkpoint has no single tensor of one of these parameters."""
    shapes = _shapes(checkpoint)
    for name in names:
        if not windows(checkpoint.config["model_type"], name, shapes):
            stored_at(name, checkpoint)


def save_edited(checkpoint: Checkpoint, out: Path, changes: Changes, *, code: bool = False) -> None:
    """Writes the model of a checkpoint into the folder `out`, with the changed weights.

    Only its own files are written (`belonging`, with its Python modules for `code`), and every byte
    is read back from the disk and compared; weight files without a changed tensor are not read at
    all where they can be linked. config.json comes last, so that nothing takes a part for a model.
    A tensor is written in the dtype it has on disk. Raises LocscopeError where a changed parameter
    has no single tensor there or does not fit its dtype, or where the disk gives back something
    else; OSError where it refuses.
    """
    changes = unstacked_changes(checkpoint, changes)
    keys = {piece.name: stored_at(piece.name, checkpoint) for piece in changes}
    files = belonging(checkpoint.directory, checkpoint.shards, code=code)
    for path in sorted(files, key=lambda path: path == checkpoint.directory / CONFIG):
        written = out / path.relative_to(checkpoint.directory)
        written.parent.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for piece, values in changes.items():
            shard, key = keys[piece.name]
            if shard == path:
                tensors.setdefault(key, stored_tensor(path, key))
                put(tensors[key], piece, values)
        with open_own(path, checkpoint.directory) as before:
            if path in checkpoint.shards and not tensors and _linked(before, path, written):
                continue
            changed = {_first(checkpoint, path, k): _bytes(k, tensors[k]) for k in tensors}
            _write(before, written, changed)


def written_anew(
    checkpoint: Checkpoint, output: Path, names: Iterable[str], *, code: bool = False
) -> int:
    """Bytes that a save into `output` takes where parameters of these names are changed."""
    shapes = _shapes(checkpoint)
    keys = {
        key
        for name in names
        for key in (
            [own for own, *_ in windows(checkpoint.config["model_type"], name, shapes)]
            or [stored_at(name, checkpoint)[1]]
        )
    }
    untouched = {path for path, tensors in checkpoint.shards.items() if not keys & tensors.keys()}
    files = belonging(checkpoint.directory, checkpoint.shards, code=code)
    return sum(
        path.stat().st_size
        for path in files
        if path not in untouched or not can_be_linked(path, output)
    )


def _linked(before: BinaryIO, path: Path, written: Path) -> bool:
    """Whether a file was hard-linked; not where the file system or its owner keeps us from it.

    We write no weights in place, so that one file may belong to both folders: it takes no time and
    no room. Others may write to it in place, which is said where a model is saved.
    """
    if not can_be_linked(path, written):
        return False
    try:
        os.link(os.path.realpath(path), written)
    except OSError:
        # A copy needs no links; where it is refused too, it says why.
        return False
    if not os.path.samestat(os.fstat(before.fileno()), os.lstat(written)):
        raise LocscopeError(f"'{path}' was replaced while it was saved: give the command again")
    return True


def unstacked_changes(checkpoint: Checkpoint, changes: Changes) -> Changes:
    """The changes by the tensors of the checkpoint, where it has experts apart."""
    shapes, found = _shapes(checkpoint), dict[Slice, Tensor]()
    for piece, values in changes.items():
        of = windows(checkpoint.config["model_type"], piece.name, shapes)
        if not of:
            found[piece] = values
            continue
        found |= {own: values[first:last] for own, first, last in unstacked(piece, of, shapes)}
    return found


def _shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    shards = checkpoint.shards.values()
    return {key: tensor.shape for tensors in shards for key, tensor in tensors.items()}


def _write(before: BinaryIO, written: Path, changed: Mapping[int, memoryview]) -> None:
    """A copy of a file with other bytes from some offsets on; no permissions are copied."""
    with written.open("wb") as file:
        shutil.copyfileobj(before, file, _BLOCK)
        for first, content in changed.items():
            file.seek(first)
            file.write(content)
    sync(written)
    _forget(written)
    before.seek(0)
    with written.open("rb") as after:
        if not _as_meant(before, after, changed):
            raise LocscopeError(
                f"{written.name} was not written as it should be (is the disk sound?): nothing is "
                "saved, choose another directory"
            )


def _forget(path: Path) -> None:
    """Drops what memory holds of a file that is on the disk: reading it then reads the disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _as_meant(before: BinaryIO, after: BinaryIO, changed: Mapping[int, memoryview]) -> bool:
    """Whether two files are equal, byte by byte, but for the bytes that are changed."""
    for first, content in sorted(changed.items(), key=lambda one: one[0]):
        if not _equal(before, after, first - before.tell()):
            return False
        for start in range(0, len(content), _BLOCK):
            wanted = content[start : start + _BLOCK]
            if after.read(len(wanted)) != wanted:
                return False
        before.seek(len(content), os.SEEK_CUR)
    return _equal(before, after, None)


def _equal(one: BinaryIO, other: BinaryIO, count: int | None) -> bool:
    """Whether the next `count` bytes of both are the same; all that follow, for None."""
    while count is None or count > 0:
        size = _BLOCK if count is None else min(_BLOCK, count)
        block = one.read(size)
        if block != other.read(size):
            return False
        if not block:
            return count is None
        count = None if count is None else count - len(block)
    return True


def stored_tensor(shard: Path, key: str) -> Tensor:
    """A tensor in the dtype of its file: the model in memory may be wider."""
    with safe_open(shard, "pt") as file:
        return file.get_tensor(key).clone()


def refuse_not_finite(key: str, tensor: Tensor) -> None:
    """A LocscopeError where a weight is not finite in the dtype that it is stored in."""
    if not torch.isfinite(tensor).all():
        raise LocscopeError(
            f"cannot save {key}: some of its weights are not finite in {tensor.dtype}, in which "
            "the base is stored; choose a lower --lr"
        )


def _bytes(key: str, tensor: Tensor) -> memoryview:
    refuse_not_finite(key, tensor)
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _first(checkpoint: Checkpoint, shard: Path, key: str) -> int:
    *_, first, _ = checkpoint.shards[shard][key]
    return first


def stored_at(name: str, checkpoint: Checkpoint) -> tuple[Path, str]:
    """The file of a parameter, and its key there; a LocscopeError where there is not just one."""
    # Checkpoints may leave out or move the outer modules: the tail names it within its block.
    match = _IN_BLOCK.search(name)
    tail = match.group() if match else name
    matches = [
        (shard, key)
        for shard, keys in checkpoint.shards.items()
        for key in keys
        if (key in (name, tail) or key.endswith(f".{tail}")) and not _OTHER_PARTS.search(key)
    ]
    exact = [(shard, key) for shard, key in matches if key == name]
    if len(exact or matches) != 1:
        keys = ", ".join(key for _, key in matches) or "none"
        raise LocscopeError(f"cannot save {name}: the checkpoint's keys for it are {keys}")
    return (exact or matches)[0]
