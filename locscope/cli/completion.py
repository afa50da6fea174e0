"""What the shell completes: models, edits, scans, parts, locations, devices and other names.

Without torch and a network: a shell waits for it at every Tab.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from locscope.errors import UsageError

Complete = Callable[[typer.Context, str], list[str]]
ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
"""Of files that edits are read from."""
LAYERS = 32
"""Layers of a model that is not here."""


def of_names(names: Callable[[], Iterable[str]] | Sequence[str]) -> Complete:
    """Completes one of these names."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        del ctx
        found = names() if callable(names) else names
        return [name for name in found if name.startswith(incomplete)]

    return complete


def of_lists(inner: Complete) -> Complete:
    """Completes the last of several names with commas between them; none is offered twice."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in inner(ctx, last) if name not in taken]

    return complete


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Short names, GGUF files, and folders with a model or a way to one."""
    del ctx
    from locscope.models.aliases import ALIASES
    from locscope.models.gguf import PACKAGED, SUFFIX

    names = dict.fromkeys(("demo", *PACKAGED, *ALIASES))
    found = [name for name in names if name.startswith(incomplete.lower())]
    return [*found, *_paths(incomplete, lambda path: path.is_dir() or path.suffix == SUFFIX)]


def edits(ctx: typer.Context, incomplete: str) -> list[str]:
    """The bundled edits, files of edits, and folders that may have some."""
    del ctx
    from locscope.edits import BUNDLED

    found = [name for name in BUNDLED if name.startswith(incomplete)]
    wanted = _paths(incomplete, lambda path: path.is_dir() or path.suffix.lower() in ENDINGS)
    return [*found, *wanted]


def folders(ctx: typer.Context, incomplete: str) -> list[str]:
    """Folders."""
    del ctx
    return _paths(incomplete, lambda path: path.is_dir())


def files(ctx: typer.Context, incomplete: str) -> list[str]:
    """Files and folders."""
    del ctx
    return _paths(incomplete, Path.exists)


def locations(ctx: typer.Context, incomplete: str) -> list[str]:
    """Locations of the model that is named before: its layers first, then the parts of one."""
    from locscope.locations import PARTS

    shape = _shape(str(ctx.params.get("model") or "demo"))
    layers, parts = (shape.layers, shape.parts) if shape else (LAYERS, PARTS)
    joined, plus, last = incomplete.rpartition("+")
    start = f"{joined}{plus}"
    layer, dot, part = last.partition(".")
    if not dot:
        names = [f"L{number}." for number in range(layers)]
        return [f"{start}{name}" for name in names if name.startswith(last.upper() or "L")]
    return [f"{start}{layer}.{name}" for name in parts if name.startswith(part)]


def parts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Parts of the model that is named before."""
    from locscope.locations import PARTS

    shape = _shape(str(ctx.params.get("model") or "demo"))
    return [part for part in (shape.parts if shape else PARTS) if part.startswith(incomplete)]


def _scans() -> list[str]:
    from locscope.scans import SCANS

    return ["cheap", "all", *SCANS]


def _recipes() -> list[str]:
    from locscope.tuning.recipes import RECIPES

    return ["every", *RECIPES]


def _bounds() -> list[str]:
    from locscope.scoring.bounds import BOUNDABLE

    return [f"{name}{side}" for name in BOUNDABLE for side in ("<=", ">=")]


def _weights() -> list[str]:
    from locscope.scoring.bounds import BOUNDABLE

    return [f"{name}=" for name in BOUNDABLE]


def _devices() -> list[str]:
    from locscope.models.structure.names import DEVICES

    return list(DEVICES)


def _dtypes() -> list[str]:
    from locscope.models.structure.names import DTYPES

    return list(DTYPES)


FIELDS: dict[str, Complete] = {
    **{"model": models, "base": models, "edits": edits, "neutral": files, "abilities": files},
    **{"device": of_names(_devices), "dtype": of_names(_dtypes), "location": locations},
    **{"locations": of_lists(locations), "parts": of_lists(parts)},
    **{"scans": of_lists(of_names(_scans)), "recipes": of_lists(of_names(_recipes))},
    **{"bounds": of_names(_bounds), "weights": of_names(_weights)},
}
"""By the name of a setting, where its type does not list the values."""


def _shape(model: str) -> Any:
    """The shape of a model that is on this machine; None where it cannot be told."""
    from locscope.models.aliases import resolve
    from locscope.models.checkpoint import read_config
    from locscope.models.structure.names import shape_of

    try:
        source = resolve(model)
        return shape_of(read_config(source)) if isinstance(source, Path) else None
    except UsageError:
        return None


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Paths that begin so, folders with a slash behind; hidden ones where a dot is written."""
    head, slash, name = incomplete.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    shown = (one for one in entries if one.name.startswith(name))
    shown = (one for one in shown if wanted(one) and (name or not one.name.startswith(".")))
    return [f"{head}{slash}{one.name}{'/' if one.is_dir() else ''}" for one in shown]
