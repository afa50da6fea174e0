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
    """Copies the model in `base` to `out`, with the changed weights.

    Every other weight, configuration and tokenizer stay as they are on disk; the card is not
    copied, for it describes another model. A tensor is written in the dtype it has on disk. Raises
    UsageError where `out` exists and is not an empty directory, LocscopeError where the checkpoint
    has no single tensor of a changed parameter.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: choose another --output")
    shards = {shard: _keys(shard) for shard in sorted(base.glob("*.safetensors"))}
    keys_of: dict[Path, dict[str, str]] = {shard: {} for shard in shards}
    for change in changes:
        shard, key = _stored_at(change.slice.name, shards)
        keys_of[shard][change.slice.name] = key
    shutil.copytree(
        base, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", CARD)
    )
    for shard, keys in keys_of.items():
        _write(shard, out / shard.name, keys, changes)


def _write(shard: Path, out: Path, keys: Mapping[str, str], changes: Sequence[Change]) -> None:
    if not keys:
        shutil.copyfile(shard, out)
        return
    # In the dtype of the file: the model in memory may be wider.
    tensors = load_file(shard)
    for change in changes:
        if change.slice.name in keys:
            put(tensors[keys[change.slice.name]], change.slice, change.values)
    with safe_open(shard, "pt") as file:
        save_file(tensors, out, metadata=file.metadata())


def _keys(shard: Path) -> frozenset[str]:
    with safe_open(shard, "pt") as file:
        return frozenset(file.keys())


def _stored_at(name: str, shards: Mapping[Path, frozenset[str]]) -> tuple[Path, str]:
    """The file of a parameter, and its key there."""
    # Checkpoints may leave out or move the outer modules: the tail names it within its block.
    match = _IN_BLOCK.search(name)
    tail = match.group() if match else name
    matches = [
        (shard, key)
        for shard, keys in shards.items()
        for key in keys
        if key in (name, tail) or key.endswith(f".{tail}")
    ]
    exact = [(shard, key) for shard, key in matches if key == name]
    if len(exact or matches) != 1:
        keys = ", ".join(key for _, key in matches) or "none"
        raise LocscopeError(f"cannot save {name}: the checkpoint's keys for it are {keys}")
    return (exact or matches)[0]
