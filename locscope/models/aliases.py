"""Short names for models, and what a `--model` leads to. Knows no torch.

A table of our own: TransformerLens' has no `llama-3-8b`, and prefers its names to directories.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from locscope.errors import UsageError, unknown
from locscope.models.files import CONFIG
from locscope.models.gguf import PACKAGED, SUFFIX, packaged

ALIASES = {
    "llama-2-7b": "meta-llama/Llama-2-7b-chat-hf",
    "llama-2-7b-base": "meta-llama/Llama-2-7b-hf",
    "llama-2-13b": "meta-llama/Llama-2-13b-chat-hf",
    "llama-2-13b-base": "meta-llama/Llama-2-13b-hf",
    "llama-3-8b": "meta-llama/Meta-Llama-3-8B-Instruct",
    "llama-3-8b-base": "meta-llama/Meta-Llama-3-8B",
    "llama-3-70b": "meta-llama/Meta-Llama-3-70B-Instruct",
    "llama-3-70b-base": "meta-llama/Meta-Llama-3-70B",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-3.1-8b-base": "meta-llama/Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Llama-3.1-70B-Instruct",
    "llama-3.1-70b-base": "meta-llama/Llama-3.1-70B",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "llama-3.2-1b-base": "meta-llama/Llama-3.2-1B",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B-Instruct",
    "llama-3.2-3b-base": "meta-llama/Llama-3.2-3B",
    "llama-3.3-70b": "meta-llama/Llama-3.3-70B-Instruct",
    "qwen2-0.5b": "Qwen/Qwen2-0.5B-Instruct",
    "qwen2-1.5b": "Qwen/Qwen2-1.5B-Instruct",
    "qwen2-7b": "Qwen/Qwen2-7B-Instruct",
    "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-0.5b-base": "Qwen/Qwen2.5-0.5B",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
    "qwen2.5-1.5b-base": "Qwen/Qwen2.5-1.5B",
    "qwen2.5-3b": "Qwen/Qwen2.5-3B-Instruct",
    "qwen2.5-3b-base": "Qwen/Qwen2.5-3B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "qwen2.5-7b-base": "Qwen/Qwen2.5-7B",
    "qwen2.5-14b": "Qwen/Qwen2.5-14B-Instruct",
    "qwen2.5-14b-base": "Qwen/Qwen2.5-14B",
    "qwen2.5-32b": "Qwen/Qwen2.5-32B-Instruct",
    "qwen2.5-32b-base": "Qwen/Qwen2.5-32B",
    "qwen2.5-72b": "Qwen/Qwen2.5-72B-Instruct",
    "qwen2.5-72b-base": "Qwen/Qwen2.5-72B",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "qwen3-0.6b-base": "Qwen/Qwen3-0.6B-Base",
    "qwen3-1.7b": "Qwen/Qwen3-1.7B",
    "qwen3-1.7b-base": "Qwen/Qwen3-1.7B-Base",
    "qwen3-4b": "Qwen/Qwen3-4B",
    "qwen3-4b-base": "Qwen/Qwen3-4B-Base",
    "qwen3-8b": "Qwen/Qwen3-8B",
    "qwen3-8b-base": "Qwen/Qwen3-8B-Base",
    "qwen3-14b": "Qwen/Qwen3-14B",
    "qwen3-14b-base": "Qwen/Qwen3-14B-Base",
    "qwen3-32b": "Qwen/Qwen3-32B",
    "mistral-7b": "mistralai/Mistral-7B-Instruct-v0.3",
    "mistral-7b-base": "mistralai/Mistral-7B-v0.3",
    "mistral-7b-v0.1": "mistralai/Mistral-7B-Instruct-v0.1",
    "mistral-7b-v0.1-base": "mistralai/Mistral-7B-v0.1",
    "mistral-7b-v0.2": "mistralai/Mistral-7B-Instruct-v0.2",
    "gemma-2b": "google/gemma-2b-it",
    "gemma-2b-base": "google/gemma-2b",
    "gemma-7b": "google/gemma-7b-it",
    "gemma-7b-base": "google/gemma-7b",
    "gemma-2-2b": "google/gemma-2-2b-it",
    "gemma-2-2b-base": "google/gemma-2-2b",
    "gemma-2-9b": "google/gemma-2-9b-it",
    "gemma-2-9b-base": "google/gemma-2-9b",
    "gemma-2-27b": "google/gemma-2-27b-it",
    "gemma-2-27b-base": "google/gemma-2-27b",
    "gemma-3-270m": "google/gemma-3-270m-it",
    "gemma-3-270m-base": "google/gemma-3-270m",
    "gemma-3-1b": "google/gemma-3-1b-it",
    "gemma-3-1b-base": "google/gemma-3-1b-pt",
    "gemma-3-4b": "google/gemma-3-4b-it",
    "gemma-3-4b-base": "google/gemma-3-4b-pt",
    "gemma-3-12b": "google/gemma-3-12b-it",
    "gemma-3-12b-base": "google/gemma-3-12b-pt",
    "phi-3-mini": "microsoft/Phi-3-mini-4k-instruct",
    "phi-3-medium": "microsoft/Phi-3-medium-4k-instruct",
    "phi-3.5-mini": "microsoft/Phi-3.5-mini-instruct",
    "phi-4": "microsoft/phi-4",
    "gpt2": "openai-community/gpt2",
    "gpt2-small": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "gpt-neox-20b": "EleutherAI/gpt-neox-20b",
    "pythia-14m": "EleutherAI/pythia-14m",
    "pythia-31m": "EleutherAI/pythia-31m",
    "pythia-70m": "EleutherAI/pythia-70m",
    "pythia-160m": "EleutherAI/pythia-160m",
    "pythia-410m": "EleutherAI/pythia-410m",
    "pythia-1b": "EleutherAI/pythia-1b",
    "pythia-1.4b": "EleutherAI/pythia-1.4b",
    "pythia-2.8b": "EleutherAI/pythia-2.8b",
    "pythia-6.9b": "EleutherAI/pythia-6.9b",
    "pythia-12b": "EleutherAI/pythia-12b",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "smollm2-135m-base": "HuggingFaceTB/SmolLM2-135M",
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "smollm2-360m-base": "HuggingFaceTB/SmolLM2-360M",
    "smollm2-1.7b": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "smollm2-1.7b-base": "HuggingFaceTB/SmolLM2-1.7B",
    "tinyllama-1.1b": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
}
"""Alias to hub id. The plain name of a family with both is the instruction-tuned model."""

DEMO = Path(__file__).parent / "demo"
"""The directory of the bundled model."""

_CACHED = "models--"
"""How folders of models begin in the hub's cache."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


Source = Path | str
"""Where a model comes from: a directory, a GGUF file, or an id of the hub."""


def name_of(source: Source) -> str:
    """As it is written down: the hub id, or the directory's own name."""
    if isinstance(source, str):
        return source
    if source.suffix == SUFFIX and source.is_file():
        return source.stem
    cache = source.parent.parent.name
    if source.parent.name == "snapshots" and cache.startswith(_CACHED):
        return cache.removeprefix(_CACHED).replace("--", "/")
    return source.name


def resolve(name: str) -> Source:
    """What the name of a model leads to; touches neither network nor weights.

    In this order: `demo`, an existing directory, a real model that a Python package or `make real`
    brought, an alias (in any case), a GGUF file, a hub id `org/name`.
    Raises UsageError for a name that is none of these, with near names.
    """
    if name == "demo":
        return DEMO
    path = Path(os.path.expanduser(name))
    # Not Path's own, which raises for a name that is too long for a file.
    if name and os.path.isdir(path):
        return _snapshot(path.resolve())
    if name.lower() in PACKAGED:
        return packaged(name.lower()) or PACKAGED[name.lower()].hub_id
    if name.lower() in ALIASES:
        return ALIASES[name.lower()]
    # Before the hub: `org/model.gguf` that is a file here is meant as that file.
    if os.path.isfile(path):
        if path.suffix == SUFFIX:
            return path.resolve()
        raise UsageError(f"model '{name}' is a file: give the directory that holds config.json")
    if _HUB_ID.fullmatch(name):
        return name
    if _looks_like_a_path(name):
        raise UsageError(f"no directory '{name}': give a directory that holds a model, or its name")
    raise _unknown(name)


def _snapshot(directory: Path) -> Path:
    """The snapshot that a folder of the hub's cache stands for; any other directory as it is.

    Raises UsageError where it is not told which of its snapshots that is.
    """
    inside = directory / "snapshots"
    if (directory / CONFIG).exists() or not inside.is_dir():
        return directory
    snapshots = sorted(path.name for path in inside.iterdir() if path.is_dir())
    main = directory / "refs" / "main"
    # Looked up among the names that are there: what the file says could lead anywhere.
    named = main.read_bytes()[:100].decode(errors="replace").strip() if main.is_file() else ""
    if named in snapshots or len(snapshots) == 1:
        return inside / (named if named in snapshots else snapshots[0])
    if not snapshots:
        raise UsageError(f"'{directory}' is a folder of the hub's cache without a snapshot")
    raise UsageError(
        f"'{directory}' is a folder of the hub's cache with {len(snapshots)} snapshots and no "
        f"refs/main among them: give one, as '{inside / snapshots[0]}'"
    )


def _unknown(name: str) -> UsageError:
    near = get_close_matches(name.lower(), ("demo", *PACKAGED, *ALIASES), n=3, cutoff=0.6)
    if near:
        return unknown("model", name, near)
    return UsageError(
        f"unknown model '{name}': give demo, a directory, a GGUF file, a hub id "
        "(organisation/name) or a name from `locscope list models`"
    )


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "~")) or "/" in name or "\\" in name
