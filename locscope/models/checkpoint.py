"""What is in a model directory, read without loading it: checks, stored dtype, digest.

Needs no torch. Everything wrong with a directory is a UsageError that names the directory, what is
missing and what to do.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locscope.errors import UsageError, shown
from locscope.models.config_checks import check_config, check_generation
from locscope.models.families import FAMILIES
from locscope.models.files import (
    CONFIG,
    GENERATION,
    INDEX,
    WHOLE,
    read_object,
    refuse_leaving,
    refuse_mark,
    refuse_pointer,
)
from locscope.models.weights import ADAPTER, StoredTensor, Tensors, read_weights

TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Sets of files, any of which makes a tokenizer."""

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
"""Names in a safetensors header to names in torch, for weights that can be tuned."""

READ_WHOLE = 512 * 2**20
"""Bytes: weights up to here are digested in full."""
SAMPLES, SAMPLE = 32, 16 * 2**10
"""Larger ones: so many blocks of so many bytes, evenly spaced over every tensor."""

_VOLATILE = ("transformers_version", "_name_or_path")
_OBJECTS = (
    *(GENERATION, "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.json", "processor_config.json"),
)
"""What is read besides the configuration, each a JSON object where it is there."""
_TEXTS = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja")
_LARGEST_TEXT = 256 * 2**20


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
    shards = read_weights(directory)
    refuse_leaving(directory, shards)
    if not any(all((directory / name).is_file() for name in names) for names in TOKENIZERS):
        raise UsageError(
            f"no tokenizer in '{directory}': it needs tokenizer.json (or tokenizer.model, "
            "or vocab.json and merges.txt) beside config.json"
        )
    checkpoint = Checkpoint(directory, config, shards)
    # For its error, before sizes are compared with those of tensors that are no weights.
    stored_dtype(checkpoint)
    check_config(directory / CONFIG, config, shards)
    _check_files(directory, config)
    return checkpoint


def read_config(directory: Path) -> dict[str, Any]:
    """The parsed config.json.

    Raises UsageError where there is none, or its model cannot be tuned.
    """
    path = directory / CONFIG
    if (directory / ADAPTER).is_file():
        raise _adapter(directory)
    if not path.is_file():
        raise UsageError(_no_config(directory))
    config = read_object(path)
    kind = config.get("model_type", "")
    if not isinstance(kind, str) or not (kind in FAMILIES or _is_language_model(kind)):
        raise UsageError(
            f"model type {shown(kind)} of '{directory}' is not supported: it is none of the "
            f"{len(FAMILIES)} in the table, and transformers has no causal language model of it"
        )
    if config.get("quantization_config") or config.get("quantization"):
        raise UsageError(f"the model in '{directory}' is quantised: give the unquantised weights")
    return config


def _is_language_model(kind: str) -> bool:
    """Whether transformers has a causal language model of this type: tried when it is loaded."""
    # Slow to import, and only needed for types that no table has.
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _adapter(directory: Path) -> UsageError:
    if any((directory / name).is_file() for name in (WHOLE, INDEX)):
        # Hugging Face would put it on top of the weights, unsaid, where peft is installed.
        return UsageError(
            f"'{directory}' holds an adapter beside whole weights ({ADAPTER}): move it out of the "
            "folder, or merge it into the weights and give the result"
        )
    return UsageError(
        f"'{directory}' holds an adapter ({ADAPTER}): merge it into its model, give the result"
    )


def _no_config(directory: Path) -> str:
    inside = sorted(path.parent.name for path in directory.glob(f"*/{CONFIG}"))
    gguf = sorted(path.name for path in directory.glob("*.gguf"))
    found = f"no config.json in '{directory}'"
    if gguf:
        return f"{found}, only GGUF ({gguf[0]}): give that file, not its folder"
    if inside:
        return f"{found}, but in its folder {shown(inside[0])}: give that one"
    return f"{found}: give the directory of a whole model"


def _check_files(directory: Path, config: dict[str, Any]) -> None:
    """Reads what is small besides the configuration, and looks at how the rest begins."""
    for name in _OBJECTS:
        if (directory / name).is_file():
            content = read_object(directory / name)
            if name == GENERATION:
                check_generation(directory / name, config, content)
    for name in _TEXTS:
        path = directory / name
        if path.is_file():
            refuse_pointer(path)
            if path.suffix == ".json":
                refuse_mark(path)
            if path.stat().st_size > _LARGEST_TEXT:
                raise UsageError(f"cannot use '{path}': it is too large for a tokenizer's file")


def stored_dtype(checkpoint: Checkpoint) -> str:
    """The dtype that most bytes of the weights have on disk, as torch names it.

    Raises UsageError for one that cannot be tuned.
    """
    sizes: Counter[str] = Counter()
    for tensors in checkpoint.shards.values():
        for tensor in tensors.values():
            sizes[tensor.dtype] += tensor.last - tensor.first
    most = sizes.most_common(1)[0][0] if sizes else "none"
    if most not in DTYPES:
        raise UsageError(
            f"weights in '{checkpoint.directory}' are stored as {most}, which cannot be tuned: "
            f"give a checkpoint in {', '.join(DTYPES.values())}"
        )
    return DTYPES[most]


Look = Callable[[str, StoredTensor, bytearray], None]
"""What is done with a tensor while it is read: its name, its entry in the header, its bytes."""


def digest(checkpoint: Checkpoint, whole: int = READ_WHOLE, look: Look | None = None) -> str:
    """16 hex digits that tell models apart: config (without version notes), headers and weights.

    Up to `whole` bytes every byte is read. Beyond, only headers and 32 blocks of 16 KiB spread over
    every tensor are: a second for 16 GB, which shows any change of a layer, a part or a head, but
    may miss one of a few scattered weights. `look` sees every tensor that is read in full.
    """
    # Saving a model again rewrites these, and it is still the same model.
    settings = {k: v for k, v in checkpoint.config.items() if k not in _VOLATILE}
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    # Of all files together: the same model in more shards is read in the same way.
    size = sum(path.stat().st_size for path in checkpoint.shards)
    for path, tensors in checkpoint.shards.items():
        if size > whole:
            _digest_samples(path, tensors, total)
        else:
            _digest_whole(path, tensors, total, look)
    return total.hexdigest()[:16]


def _digest_whole(path: Path, tensors: Tensors, total: Any, look: Look | None) -> None:
    with path.open("rb") as file:
        # The header; then the tensors, which follow it and each other without a gap.
        total.update(file.read(min((tensor.first for tensor in tensors.values()), default=-1)))
        # By place in the file and not by name, so that it is read through once.
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].first):
            content = bytearray(tensor.last - tensor.first)
            file.readinto(content)
            total.update(content)
            if look is not None:
                look(name, tensor, content)


def _digest_samples(path: Path, tensors: Tensors, total: Any) -> None:
    with path.open("rb") as file:
        # The header: tensors follow it without a gap.
        total.update(file.read(min((tensor.first for tensor in tensors.values()), default=-1)))
        for _, _, first, last in tensors.values():
            for offset in _offsets(last - first):
                file.seek(first + offset)
                total.update(file.read(min(SAMPLE, last - first - offset)))


def _offsets(size: int) -> list[int]:
    """Where in a tensor of `size` bytes the blocks start: everywhere if small, else evenly."""
    if size <= SAMPLES * SAMPLE:
        return list(range(0, size, SAMPLE))
    return [index * (size - SAMPLE) // (SAMPLES - 1) for index in range(SAMPLES)]
