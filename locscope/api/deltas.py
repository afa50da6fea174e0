"""Deltas in memory: an edit of a file is put on a loaded model, or taken off it."""

import copy
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from locscope.api.loading import Model, as_loaded
from locscope.models.delta import held_in, put_tensors, read_delta, turned
from locscope.models.load import Loaded
from locscope.models.streaming.blocks import refuse_copy

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def apply(model: Model, delta: Paths, *, inplace: bool = False) -> Loaded:
    """Puts an edit that was saved as a delta on a model.

    Args:
        model: a name, or what `load_model` gives; it stays untouched unless `inplace`.
        delta: a file of `locscope edit --delta`, or several, put on in their order.
        inplace: change the given model and make no copy.

    Returns:
        The model with the edit.

    Raises:
        UsageError: the delta was made on another model, is on this one already, or two of them
            change one tensor.

    Example:
        >>> import locscope, tempfile, pathlib
        >>> model = locscope.load_model("demo", device="cpu")
        >>> edited = locscope.edit(model, location="L6.mlp.down", lr=1e-3, limit=8, epochs=1)
        >>> file = edited.save_delta(pathlib.Path(tempfile.mkdtemp()) / "edit.safetensors")
        >>> changed = locscope.apply(model, file)
        >>> locscope.revert(changed, file, inplace=True) is changed
        True
    """
    return _changed(model, delta, inplace, back=False)


def revert(model: Model, delta: Paths, *, inplace: bool = False) -> Loaded:
    """Takes an edit off a model again; its weights are those of before, bit for bit.

    Args:
        model: a name, or what `load_model` or `apply` gives.
        delta: a file of `locscope edit --delta`, or several; the last one is taken off first.
        inplace: change the given model and make no copy.

    Returns:
        The model without the edit.

    Raises:
        UsageError: the delta is not on this model, or its tensors were changed since.

    Example:
        See `apply`.
    """
    return _changed(model, delta, inplace, back=True)


def _changed(model: Model, delta: Paths, inplace: bool, *, back: bool) -> Loaded:
    loaded = as_loaded(model, {})
    paths = [delta] if isinstance(delta, str | os.PathLike) else delta
    deltas = [read_delta(Path(path)) for path in paths]
    tensors = turned(deltas, held_in(loaded.model), loaded.info.name, back=back)
    if not inplace:
        refuse_copy(loaded.model)
        loaded = replace(loaded, model=copy.deepcopy(loaded.model))
    put_tensors(loaded.model, deltas, tensors)
    return loaded
