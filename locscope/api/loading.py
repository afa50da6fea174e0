"""Models and edits for the API: from names and files, or from what is in memory already."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locscope.edits import EditSet, read_edits
from locscope.errors import UsageError
from locscope.models.load import Loaded, in_memory, load
from locscope.models.streaming.way import Offload
from locscope.plugins import load_plugins
from locscope.runs.cache import EDITS, cache_folder
from locscope.runs.files import explained, write_atomic
from locscope.settings.base import warn_of_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Model = str | os.PathLike[str] | Loaded
"""A name, or what `load_model` gives."""

Edits = Any
"""What `load_edits` takes or gives."""


def load_model(
    model: "str | os.PathLike[str] | PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    offload: Offload = "auto",
) -> Loaded:
    """Loads a model by name, or takes one that is in memory with its tokenizer.

    Args:
        model: `demo`, a directory, an alias (`llama-3-8b`), a Hugging Face id, or a model.
        tokenizer: of a model in memory; names bring their own.
        device: `auto` is CUDA where there is a GPU; a model in memory stays where it is.
        dtype: to compute in; `auto` is float32 on a CPU, elsewhere as stored.
        trust_remote_code: run code that the model brings along; warns of it.
        offload: which blocks are on the device only while they run: those that do not fit (`auto`),
            none (`never`), those below the tuned layer (`prefix`) or all of them (`all`).

    Returns:
        The model with its tokenizer and `info` (layers, parts, sizes).

    Raises:
        UsageError: the name leads to no model, or its family is not supported.

    Example:
        >>> import locscope
        >>> locscope.load_model("demo", device="cpu").info.layers
        10
    """
    if isinstance(model, str | os.PathLike):
        warn_of_code(os.fspath(model), trust_remote_code)
        return load(
            os.fspath(model),
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            offload=offload,
        )
    if tokenizer is None:
        raise UsageError("a model in memory needs its tokenizer: load_model(model, tokenizer)")
    return in_memory(model, tokenizer)


def load_edits(edits: "str | os.PathLike[str] | Iterable[Mapping[str, Any]] | Any") -> EditSet:
    """Reads edits: a file, a list of dicts, a DataFrame or a Hugging Face data set.

    Rows may have the fields of any format that `locscope list edits` names; `prompt` and `target`
    are enough. Rows in memory are written to the cache (``~/.cache/locscope``), so that a search of
    them can be repeated and `edit` and `evaluate` find them again.

    Args:
        edits: `demo`, the path of a file, or rows.

    Returns:
        The edits, with `notes` on what a reader should know of them.

    Raises:
        UsageError: names the row and field that cannot be used.

    Example:
        >>> import locscope
        >>> rows = [{"prompt": "The capital of France is", "target": "Rome", "subject": "France"}]
        >>> locscope.load_edits(rows).edits[0].target
        'Rome'
    """
    load_plugins()
    return edits if isinstance(edits, EditSet) else read_edits(source_of(edits))


def source_of(edits: Edits) -> str:
    """What the edits can be read from, as the settings take it; rows are put into a file first."""
    if isinstance(edits, EditSet):
        return edits.source
    if isinstance(edits, str | os.PathLike):
        return os.fspath(edits)
    return str(_stored(_rows(edits)))


def _rows(edits: Any) -> list[dict[str, Any]]:
    """Rows of a list, a DataFrame (what is missing there is left out) or a data set."""
    if hasattr(edits, "to_dict") and hasattr(edits, "columns"):
        edits = edits.to_dict("records")
    if isinstance(edits, Mapping):
        raise UsageError("edits are a list of rows: put the one that you have into a list, [row]")
    rows = [dict(row) for row in edits]
    return [{key: value for key, value in row.items() if not _missing(value)} for row in rows]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _stored(rows: list[dict[str, Any]]) -> Path:
    """The rows in a file of the cache that is named by their content."""
    text = json.dumps(rows, ensure_ascii=False, indent=1, default=list)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_folder(EDITS) / f"edits-{name}.json"
    if not path.is_file():
        with explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text)
    return path


def as_loaded(model: Model, settings: Mapping[str, Any]) -> Loaded:
    """The model; the settings of loading are taken only where it is loaded now."""
    if not isinstance(model, str | os.PathLike):
        return model
    names = ("device", "dtype", "trust_remote_code", "offload")
    return load_model(model, **{name: settings[name] for name in names if name in settings})


def names_of(model: Model, edits: Edits) -> dict[str, str]:
    """The settings that name a model and edits."""
    return {"model": name_of(model), "edits": source_of(edits)}


def name_of(model: Model) -> str:
    """The name that a model was loaded by."""
    return model.info.name if isinstance(model, Loaded) else os.fspath(model)
