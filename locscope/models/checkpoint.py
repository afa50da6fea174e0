"""What is in a model directory, read without loading it: checks, stored dtype, digest.

Needs no torch. Everything wrong with a directory is a UsageError that names the directory, what is
missing and what to do.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locscope.errors import UsageError
from locscope.models.families import FAMILIES
from locscope.models.files import INDEX, refuse_leaving
from locscope.models.files import WHOLE as WEIGHTS

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Sets of files, any of which makes a tokenizer."""

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
"""Names in a safetensors header to names in torch, for weights that can be tuned."""

READ_WHOLE = 512 * 2**20
"""Bytes: weights up to here are digested in full."""
SAMPLES, SAMPLE = 32, 16 * 2**10
"""Larger ones: so many blocks of so many bytes, evenly spaced over every tensor."""

_VOLATILE = ("transformers_version", "_name_or_path")
_LARGEST_HEADER = 100 * 2**20


Tensors = dict[str, tuple[str, int, int]]
"""Of a safetensors file: every tensor's dtype, and its byte range in the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A directory that can be loaded: its parsed config, and its weight files' tensors."""

    directory: Path
    config: dict[str, Any]
    shards: dict[Path, Tensors]


def read_checkpoint(directory: Path) -> Checkpoint:
    """Checks a directory and reads config and headers (kilobytes); the weights stay unread.

    Raises UsageError for the first thing that is missing or cannot be used.
    """
    config = read_config(directory)
    weights = _weight_files(directory)
    refuse_leaving(directory, weights)
    if not any(all((directory / name).is_file() for name in names) for names in TOKENIZERS):
        raise UsageError(
            f"no tokenizer in '{directory}': it needs tokenizer.json (or tokenizer.model, "
            "or vocab.json and merges.txt) beside config.json"
        )
    return Checkpoint(directory, config, {path: _tensors(path) for path in weights})


def read_config(directory: Path) -> dict[str, Any]:
    """The parsed config.json.

    Raises UsageError where there is none, or its model cannot be tuned.
    """
    path = directory / "config.json"
    if (directory / "adapter_config.json").is_file() and not path.is_file():
        raise UsageError(
            f"'{directory}' holds an adapter: merge it into its model, give the result"
        )
    if not path.is_file():
        raise UsageError(f"no config.json in '{directory}': give the directory of a whole model")
    config = _json(path)
    kind = config.get("model_type", "")
    if kind not in FAMILIES:
        supported = ", ".join(sorted(FAMILIES))
        raise UsageError(f"model type '{kind}' of '{directory}' is not supported: {supported} are")
    if config.get("quantization_config"):
        raise UsageError(f"the model in '{directory}' is quantised: give the unquantised weights")
    return config


def stored_dtype(checkpoint: Checkpoint) -> str:
    """The dtype that most bytes of the weights have on disk, as torch names it.

    Raises UsageError for one that cannot be tuned.
    """
    sizes: Counter[str] = Counter()
    for tensors in checkpoint.shards.values():
        for dtype, first, last in tensors.values():
            sizes[dtype] += last - first
    most = sizes.most_common(1)[0][0] if sizes else "none"
    if most not in DTYPES:
        raise UsageError(
            f"weights in '{checkpoint.directory}' are stored as {most}, which cannot be tuned: "
            f"give a checkpoint in {', '.join(DTYPES.values())}"
        )
    return DTYPES[most]


def digest(checkpoint: Checkpoint, whole: int = READ_WHOLE) -> str:
    """16 hex digits that tell models apart: config (without version notes), headers and weights.

    Up to `whole` bytes every byte is read. Beyond, only headers and 32 blocks of 16 KiB spread over
    every tensor are: a second for 16 GB, which shows any change of a layer, a part or a head, but
    may miss one of a few scattered weights.
    """
    # Saving a model again rewrites these, and it is still the same model.
    settings = {k: v for k, v in checkpoint.config.items() if k not in _VOLATILE}
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    size = sum(path.stat().st_size for path in checkpoint.shards)
    for path, tensors in checkpoint.shards.items():
        _digest_shard(path, tensors, total, sampled=size > whole)
    return total.hexdigest()[:16]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"cannot read '{path}': it is not a JSON object")
    return value


def _weight_files(directory: Path) -> list[Path]:
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        return _indexed(directory)
    pickles = sorted(path.name for pattern in PICKLES for path in directory.glob(pattern))
    if pickles:
        raise UsageError(
            f"'{directory}' has only pickled weights ({pickles[0]}), which may run code when read: "
            f"locscope reads {WEIGHTS}, save the model as safetensors"
        )
    raise UsageError(f"no weights in '{directory}': it needs {WEIGHTS} (or shards and {INDEX})")


def _indexed(directory: Path) -> list[Path]:
    files = _json(directory / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UsageError(f"no weight_map in '{directory / INDEX}': download the model again")
    shards = [directory / name for name in sorted(set(files.values()))]
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(shards)} weight files are missing in '{directory}' "
            f"({missing[0]}): download them"
        )
    return shards


def _tensors(path: Path) -> Tensors:
    size = path.stat().st_size
    # The file begins with the length of its JSON header, 8 bytes, little-endian.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise UsageError(f"'{path}' is not a whole safetensors file: download it again")
        header = file.read(length)
    try:
        entries = json.loads(header)
        start = 8 + length
        tensors = {k: _span(v, start) for k, v in entries.items() if k != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"'{path}' is not a whole safetensors file: download it again") from None
    if size != max((last for _, _, last in tensors.values()), default=start):
        raise UsageError(f"'{path}' is cut short or too long: download it again")
    return tensors


def _span(entry: dict[str, Any], start: int) -> tuple[str, int, int]:
    # Offsets in the header count from the end of the header.
    first, last = entry["data_offsets"]
    return entry["dtype"], start + int(first), start + int(last)


def _digest_shard(path: Path, tensors: Tensors, total: Any, sampled: bool) -> None:
    with path.open("rb") as file:
        if not sampled:
            while block := file.read(2**20):
                total.update(block)
            return
        # The header: tensors follow it without a gap.
        total.update(file.read(min((first for _, first, _ in tensors.values()), default=-1)))
        for _, first, last in tensors.values():
            for offset in _offsets(last - first):
                file.seek(first + offset)
                total.update(file.read(min(SAMPLE, last - first - offset)))


def _offsets(size: int) -> list[int]:
    """Where in a tensor of `size` bytes the blocks start: everywhere if small, else evenly."""
    if size <= SAMPLES * SAMPLE:
        return list(range(0, size, SAMPLE))
    return [index * (size - SAMPLE) // (SAMPLES - 1) for index in range(SAMPLES)]
