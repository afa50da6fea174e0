"""Saving an edited model: the base's files as they are, with the tuned tensors replaced."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from locscope.errors import LocscopeError, UsageError

_IN_BLOCK = re.compile(r"(?:layers|h)\.\d+\..+$")


def save_edited(base: Path, out: Path, changed: Mapping[str, Tensor]) -> None:
    """Copies the model in `base` to `out` with the changed tensors (by parameter name).

    Every other byte of tensors, configuration and tokenizer stays. `out` must not exist or be
    empty; a tensor is written in the dtype it has on disk.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: choose another --output")
    shards = {shard: _keys(shard) for shard in sorted(base.glob("*.safetensors"))}
    places = {name: _place(name, shards) for name in changed}
    shutil.copytree(base, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    for shard in shards:
        mine = {key: changed[name] for name, (where, key) in places.items() if where == shard}
        _write(shard, out / shard.name, mine)


def _write(shard: Path, out: Path, changed: Mapping[str, Tensor]) -> None:
    if not changed:
        shutil.copyfile(shard, out)
        return
    tensors = load_file(shard)
    for key, tensor in changed.items():
        tensors[key] = tensor.to(tensors[key].dtype).reshape(tensors[key].shape).contiguous()
    with safe_open(shard, "pt") as file:
        save_file(tensors, out, metadata=file.metadata())


def _keys(shard: Path) -> frozenset[str]:
    with safe_open(shard, "pt") as file:
        return frozenset(file.keys())


def _place(name: str, shards: Mapping[Path, frozenset[str]]) -> tuple[Path, str]:
    """The file and key of a parameter; checkpoints may leave out or move the outer modules."""
    match = _IN_BLOCK.search(name)
    tail = match.group() if match else name
    found = [
        (shard, key)
        for shard, keys in shards.items()
        for key in keys
        if key in (name, tail) or key.endswith(f".{tail}")
    ]
    exact = [place for place in found if place[1] == name]
    if len(exact or found) != 1:
        keys = ", ".join(key for _, key in found) or "none"
        raise LocscopeError(f"cannot save {name}: the checkpoint's keys for it are {keys}")
    return (exact or found)[0]
