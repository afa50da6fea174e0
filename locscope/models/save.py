"""Saving an edited model: the base's files as they are, with the tuned tensors replaced."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import LocscopeError, UsageError
from locscope.models.parts import Slice, put

CARD = "README.md"
_IN_BLOCK = re.compile(r"(?:layers|h)\.\d+\..+$")


@dataclass(frozen=True)
class Change:
    """The weights of one slice as they shall be (on the host)."""

    slice: Slice
    values: Float[Tensor, " weights"]


def put_changes(model: PreTrainedModel, changes: Sequence[Change]) -> None:
    """Puts the changed weights into a model in memory."""
    named = dict(model.named_parameters())
    for change in changes:
        put(named[change.slice.name], change.slice, change.values)


def save_edited(base: Path, out: Path, changes: Sequence[Change]) -> None:
    """Copies the model in `base` to `out` with the changed weights in their places.

    Every other weight, configuration and tokenizer stay as they are on disk; the card stays behind,
    for it speaks of another model. `out` must not exist or be empty; a tensor is written in the
    dtype it has on disk.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: choose another --output")
    shards = {shard: _keys(shard) for shard in sorted(base.glob("*.safetensors"))}
    places = {change.slice.name: _place(change.slice.name, shards) for change in changes}
    shutil.copytree(
        base, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", CARD)
    )
    for shard in shards:
        keys = {name: place.key for name, place in places.items() if place.shard == shard}
        _write(shard, out / shard.name, keys, changes)


@dataclass(frozen=True)
class _Place:
    """The file that holds a parameter, and its key there."""

    shard: Path
    key: str


def _write(shard: Path, out: Path, keys: Mapping[str, str], changes: Sequence[Change]) -> None:
    if not keys:
        shutil.copyfile(shard, out)
        return
    tensors = load_file(shard)
    for change in changes:
        if change.slice.name in keys:
            put(tensors[keys[change.slice.name]], change.slice, change.values)
    with safe_open(shard, "pt") as file:
        save_file(tensors, out, metadata=file.metadata())


def _keys(shard: Path) -> frozenset[str]:
    with safe_open(shard, "pt") as file:
        return frozenset(file.keys())


def _place(name: str, shards: Mapping[Path, frozenset[str]]) -> _Place:
    """The file and key of a parameter; checkpoints may leave out or move the outer modules."""
    match = _IN_BLOCK.search(name)
    tail = match.group() if match else name
    found = [
        _Place(shard, key)
        for shard, keys in shards.items()
        for key in keys
        if key in (name, tail) or key.endswith(f".{tail}")
    ]
    exact = [place for place in found if place.key == name]
    if len(exact or found) != 1:
        keys = ", ".join(place.key for place in found) or "none"
        raise LocscopeError(f"cannot save {name}: the checkpoint's keys for it are {keys}")
    return (exact or found)[0]
