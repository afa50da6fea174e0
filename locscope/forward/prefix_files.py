"""Streams of the prefix cache in files of the user's cache, with which a later run begins.

A file holds the stream entering one layer for all packed texts of a run, as safetensors. It is
named by a hash of all that decides its bits: the weights below the layer as they are in memory, the
configuration, the texts, the size of batches, dtype, device, threads and libraries. So a run gives
the same numbers with and without it. The hash of its content is in its header: a file that is
damaged is told, removed and made again. It is written beside its name and renamed, so that two
processes may write it at once.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import torch
import transformers
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.errors import LocscopeError
from locscope.forward.packed import PackedTokens
from locscope.models.parts import blocks, family_of
from locscope.runs.cache import PREFIX, cache_folder, kept, remove
from locscope.runs.files import write_atomic_with

BLOCK = 1 << 24
"""Bytes that are written, read and hashed at a time."""
NOT_RESERVED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Numbers of errors of file systems that reserve no room; there it is written."""
UNKNOWN = "0" * 64
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_VOLATILE = ("_name_or_path", "transformers_version")


@final
class PrefixFiles:
    """The files of one model and of one set of texts; all files there take at most `most` bytes.

    What this process wrote or read is not removed for what it writes next: a search goes up the
    layers again and again, and would remove each file just before it is wanted.
    """

    def __init__(self, model: PreTrainedModel, packed: PackedTokens, most: int) -> None:
        self.model, self.packed, self.most = model, packed, most
        self._hashes: list[Any] = []
        self._own: set[Path] = set()
        # Damaged, or not to be read: not looked at twice, whether or not they could be removed.
        self._refused: set[Path] = set()
        self._told = False

    def nearest(self, layer: int, above: int, tokens: int) -> int:
        """The highest layer, of those above `above` and up to `layer`, that has a file, for batches
        of so many tokens; `above` where none has."""
        paths = ((at, self._path(at, tokens)) for at in range(layer, above, -1))
        found = (at for at, path in paths if path not in self._refused and os.access(path, os.R_OK))
        return next(found, above)

    def read(self, layer: int, tokens: int, stream: Float[Tensor, "tokens width"]) -> bool:
        """Reads the file of a layer into the stream; whether it was there and sound.

        Where it was not, the stream may hold anything. A damaged file is removed, with a warning.
        """
        path = self._path(layer, tokens)
        try:
            wrong = _read(path, _header(stream), stream)
            if wrong:
                self._refused.add(path)
                remove(path)
                warnings.warn(f"{path} is damaged ({wrong}): it is made again", stacklevel=2)
                return False
        except OSError as error:
            self._refused.add(path)
            self._tell(f"cannot read {path} ({error.strerror or error}): it is computed")
            return False
        self._own.add(path)
        # The one that was used last stays longest; of a cache that only others write none is.
        with contextlib.suppress(OSError):
            os.utime(path)
        return True

    def write(self, layer: int, tokens: int, stream: Float[Tensor, "tokens width"]) -> None:
        """Keeps the stream entering a layer, where there is room; others' files go for it, those
        that were not used for longest first. A disk that refuses is a warning: no run needs it."""
        path = self._path(layer, tokens)
        try:
            if path.is_file() or not self._make_room(stream.nbytes):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            # What a loss of power leaves of it would be told by its hash.
            write_atomic_with(path, partial(_write, stream=stream), durable=False)
        except (OSError, LocscopeError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or error
            self._tell(
                f"cannot keep activations in {path.parent} ({why}): the run "
                "goes on without; make room there, or leave --prefix-cache out"
            )
            return
        self._own.add(path)
        self._refused.discard(path)

    def _tell(self, line: str) -> None:
        # Once: every layer that follows would say the same.
        if not self._told:
            warnings.warn(line, stacklevel=3)
        self._told = True

    def _make_room(self, size: int) -> bool:
        there = sorted(kept((PREFIX,)), key=lambda one: one.used)
        total = sum(one.size for one in there) + size
        others = [one for one in there if one.path not in self._own]
        # Nothing of others goes where that would not do.
        if total - sum(one.size for one in others) > self.most:
            return False
        for one in others:
            if total <= self.most:
                break
            remove(one.path)
            total -= one.size
        return True

    def _path(self, layer: int, tokens: int) -> Path:
        key = self._below(layer).copy()
        # The threads of now: those of a trial are others than those of what is around it.
        key.update(f"{layer} {tokens} {torch.get_num_threads()}".encode())
        name = f"{self.model.config.model_type}-L{layer}-{key.hexdigest()[:24]}.safetensors"
        return cache_folder(PREFIX) / name

    def _below(self, layer: int) -> Any:
        """The hash of all that the stream entering a layer is computed from, but for batches."""
        if not self._hashes:
            self._hashes.append(_without_blocks(self.model, self.packed))
        for block in list(blocks(self.model))[len(self._hashes) - 1 : layer]:
            total = self._hashes[-1].copy()
            _add(total, block)
            self._hashes.append(total)
        return self._hashes[layer]


def reserve(path: Path, size: int) -> None:
    """Takes the room on the disk at once. A mapped file that the disk has no block for kills the
    process when it is written, past every error."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in NOT_RESERVED:
                    raise
        for start in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - start)))


def _without_blocks(model: PreTrainedModel, packed: PackedTokens) -> Any:
    """The hash of the texts, of how they are computed, and of the weights outside the blocks."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in _VOLATILE}
    on_gpu = model.device.type == "cuda"
    device = torch.cuda.get_device_name(model.device) if on_gpu else platform.machine()
    how = {
        "config": config,
        "attention": model.config._attn_implementation,
        "dtype": str(model.dtype),
        "device": [model.device.type, device, torch.backends.cpu.get_cpu_capability()],
        "experts": getattr(model.config, "_experts_implementation", None),
        "products": [torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled],
        "versions": [torch.__version__, transformers.__version__, version("locscope")],
    }
    total = hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode())
    for numbers in (packed.ids, packed.offsets):
        total.update(_bytes(numbers))
    family = family_of(model)
    inside = f"{family.owner}.{family.layers}."
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not name.startswith(inside):
            _add_tensor(total, name, tensor)
    return total


def _add(total: Any, block: nn.Module) -> None:
    for name, tensor in (*block.named_parameters(), *block.named_buffers()):
        _add_tensor(total, name, tensor)


def _add_tensor(total: Any, name: str, tensor: Tensor) -> None:
    total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    total.update(_bytes(tensor))


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _header(stream: Tensor, digest: str = UNKNOWN) -> bytes:
    """The beginning of a safetensors file with this stream; its length depends on no digest."""
    entry = {"dtype": DTYPES[stream.dtype], "shape": [*stream.shape]}
    entry["data_offsets"] = [0, stream.nbytes]
    text = json.dumps({"__metadata__": {"sha256": digest}, "stream": entry})
    padded = text.encode().ljust(-len(text) // 8 * -8)
    return len(padded).to_bytes(8, "little") + padded


def _rows_of(stream: Tensor) -> int:
    return max(1, BLOCK // (stream.shape[1] * stream.dtype.itemsize))


def _write(path: Path, stream: Float[Tensor, "tokens width"]) -> None:
    blank, total = _header(stream), hashlib.sha256()
    reserve(path, len(blank) + stream.nbytes)
    with path.open("r+b") as file:
        file.write(blank)
        for rows in stream.split(_rows_of(stream)):
            content = _bytes(rows)
            total.update(content)
            file.write(content)
        file.seek(0)
        file.write(_header(stream, total.hexdigest()))


def _read(path: Path, blank: bytes, stream: Float[Tensor, "tokens width"]) -> str:
    """Reads a file into the stream; what is wrong with it, empty where nothing is."""
    start, total = blank.index(UNKNOWN.encode()), hashlib.sha256()
    with path.open("rb") as file:
        head = file.read(len(blank))
        digest = head[start : start + len(UNKNOWN)]
        if head.replace(digest, UNKNOWN.encode()) != blank:
            return "it begins otherwise"
        for rows in stream.split(_rows_of(stream)):
            taken = torch.empty(rows.shape, dtype=rows.dtype)
            content = _bytes(taken)
            if file.readinto(content) != content.nbytes:
                return "its end is missing"
            total.update(content)
            rows.copy_(taken)
        if file.read(1) or total.hexdigest().encode() != digest:
            return "its hash does not fit"
    return ""
