"""The weight files of a model folder: which they are, and what their headers say is in them.

Needs no torch and reads kilobytes. Every number of a header is held against the others and against
the size of the file, so that nothing behind us allocates by a number that somebody made up.
"""

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from locscope.errors import UsageError, shown
from locscope.models.files import FORMATS, INDEX, PICKLED, WHOLE, read_object, refuse_pointer

ADAPTER = "adapter_config.json"
BITS = {
    **{"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64},
    **{"I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8},
    **{"BOOL": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8},
    **{"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4},
}
"""Names of dtypes in a safetensors header to bits of a number."""
PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
"""Those in which a weight is a number by itself."""

_LARGEST_HEADER = 100 * 2**20
_QUANTISED = (".qweight", ".qzeros", ".weight_packed", ".SCB", ".absmax")
"""Ends of the names that GPTQ, AWQ, compressed-tensors and bitsandbytes give."""


class StoredTensor(NamedTuple):
    """A tensor of a file: its dtype in the header's words, and its bytes `first` to `last`."""

    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


Tensors = dict[str, StoredTensor]
"""The tensors of one safetensors file, by name."""


def read_weights(directory: Path) -> dict[Path, Tensors]:
    """The weight files of a folder with their headers, in the order of their names.

    Raises UsageError where there are none, or more than one set of them, or where they are not
    whole, not plain numbers, or not what the index says.
    """
    whole, index = directory / WHOLE, directory / INDEX
    if not whole.is_file() and not index.is_file():
        raise _no_weights(directory)
    named = _weight_map(index) if index.is_file() else {}
    if whole.is_file() and (others := sorted(set(named.values()) - {WHOLE})):
        raise UsageError(
            f"'{directory}' has two sets of weights, {WHOLE} and those of {INDEX} "
            f"({others[0]}): keep one of them"
        )
    files = [WHOLE] if whole.is_file() else sorted(set(named.values()))
    missing = [name for name in files if not (directory / name).is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(files)} weight files are missing in '{directory}' "
            f"({shown(missing[0])}): download them"
        )
    shards = {directory / name: read_header(directory / name) for name in files}
    _refuse_contradictions(index, named, shards)
    for path, tensors in shards.items():
        _refuse_quantised(path, tensors)
    return shards


def read_header(path: Path) -> Tensors:
    """The tensors of a safetensors file. Raises UsageError where it is not a whole one."""
    refuse_pointer(path)
    size = path.stat().st_size
    # The file begins with the length of its JSON header, 8 bytes, little-endian.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise UsageError(f"'{path}' is not a whole safetensors file: download it again")
        header = file.read(length)
    start = 8 + length
    tensors = {name: _stored(path, name, entry, start) for name, entry in _entries(path, header)}
    _refuse_gaps(path, tensors, start, size)
    return tensors


def _no_weights(directory: Path) -> UsageError:
    there = sorted(directory.iterdir())
    pickles = [path.name for path in there if path.suffix in PICKLED]
    others = [(path.name, FORMATS[path.suffix]) for path in there if path.suffix in FORMATS]
    shards = sorted(path.name for path in directory.glob("*.safetensors") if path.is_file())
    if others:
        name, kind = others[0]
        if kind == "GGUF":
            return UsageError(
                f"'{directory}' has only GGUF weights ({name}): give that file itself"
            )
        return UsageError(
            f"'{directory}' has only {kind} weights ({name}), which cannot be tuned: give the "
            f"folder that they were made from, with {WHOLE}"
        )
    if pickles:
        return UsageError(
            f"'{directory}' has only pickled weights ({pickles[0]}), which may run code when read: "
            f"locscope reads {WHOLE}, save the model as safetensors"
        )
    if shards:
        return UsageError(
            f"no {INDEX} in '{directory}', nor {WHOLE}: what {shards[0]} belongs to is unknown"
        )
    return UsageError(f"no weights in '{directory}': it needs {WHOLE} (or shards and {INDEX})")


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor to file name, from an index. Raises UsageError for names that leave the folder."""
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UsageError(f"no weight_map in '{index}': download the model again")
    for tensor, name in named.items():
        # Plain names alone: a path could leave the folder, and would be copied when saving.
        plain = isinstance(name, str) and name == Path(name).name and len(name.encode()) < 256
        if not plain or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise UsageError(
                f"weight_map of '{index}': {shown(tensor)} is in {shown(name)}, which is not the "
                "name of a safetensors file of this folder: download the model again"
            )
    return named


def _refuse_contradictions(index: Path, named: dict[str, str], shards: dict[Path, Tensors]) -> None:
    for tensor, name in named.items():
        if tensor not in shards[index.parent / name]:
            raise UsageError(
                f"weight_map of '{index}' has {shown(tensor)} in {name}, which does not hold it: "
                "download the model again"
            )
    counts = Counter(tensor for tensors in shards.values() for tensor in tensors)
    twice = [tensor for tensor, count in counts.items() if count > 1]
    if twice:
        files = [path.name for path, tensors in shards.items() if twice[0] in tensors]
        raise UsageError(
            f"'{index.parent}' has {shown(twice[0])} in {' and '.join(files)}: download it again"
        )


def _refuse_quantised(path: Path, tensors: Tensors) -> None:
    # Masks and buffers may be integers, a weight that is one is packed or scaled by another tensor.
    for name, tensor in tensors.items():
        if name.endswith(_QUANTISED) or (name.endswith("weight") and tensor.dtype not in PLAIN):
            raise UsageError(
                f"weights in '{path}' are quantised ({shown(name)} is stored as {tensor.dtype}), "
                "which cannot be tuned: give the unquantised weights"
            )


def _entries(path: Path, header: bytes) -> list[tuple[str, Any]]:
    """Names and entries of a header, in their order."""
    try:
        # Tuples of pairs: an object of Python would keep one of two entries of the same name.
        pairs = json.loads(header.decode("utf-8"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise UsageError(
            f"'{path}' is not a whole safetensors file (its header is no JSON): download it again"
        ) from None
    if not header.startswith(b"{"):
        raise UsageError(f"'{path}' is not a whole safetensors file: download it again")
    counts = Counter(name for name, _ in pairs)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UsageError(f"the header of '{path}' has {shown(twice[0])} twice: download it again")
    notes = dict(pairs).get("__metadata__", ())
    if not isinstance(notes, tuple) or not all(isinstance(text, str) for _, text in notes):
        raise UsageError(f"the header of '{path}' is broken at '__metadata__': it is no texts")
    return [(name, entry) for name, entry in pairs if name != "__metadata__"]


def _stored(path: Path, name: str, entry: Any, start: int) -> StoredTensor:
    """One entry of a header, whose offsets count from the end of the header, at `start`."""
    broken = f"the header of '{path}' is broken at {shown(name)}"
    fields: dict[str, Any] = dict(entry) if isinstance(entry, tuple) else {}
    dtype, shape, span = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS:
        raise UsageError(f"{broken}: its dtype is {shown(dtype)}, which is none of safetensors")
    if not _is_counts(shape) or not _is_counts(span) or len(span) != 2:
        raise UsageError(
            f"{broken}: its shape is {shown(shape)}, its data_offsets are {shown(span)}"
        )
    first, last = span
    if prod(shape) * BITS[dtype] != 8 * (last - first):
        raise UsageError(
            f"{broken}: {shown(tuple(shape))} in {dtype} does not take the {last - first} bytes of "
            "its data_offsets: download it again"
        )
    return StoredTensor(dtype, tuple(shape), start + first, start + last)


def _is_counts(value: Any) -> TypeGuard[list[int]]:
    """Whether it is a list of whole numbers of bytes or rows that a disk could hold."""
    return (
        isinstance(value, list)
        and len(value) <= 16
        and all(type(n) is int and 0 <= n < 2**48 for n in value)
    )


def _refuse_gaps(path: Path, tensors: Tensors, start: int, size: int) -> None:
    end = start
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.first != end:
            how = "overlaps the one before" if tensor.first < end else "does not follow it"
            raise UsageError(f"the header of '{path}' is broken at {shown(name)}: it {how}")
        end = tensor.last
    if end != size:
        raise UsageError(f"'{path}' is cut short or too long: download it again")
