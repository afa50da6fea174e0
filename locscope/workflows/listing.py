"""`list`: the tables of what there is."""

from collections.abc import Callable

from locscope.errors import unknown
from locscope.plugins import load_plugins

Rows = list[tuple[str, str]]


def _models() -> Rows:
    from locscope.models.aliases import ALIASES
    from locscope.models.gguf import PACKAGED, packaged

    real = [
        (name, str(packaged(name) or f"{of.hub_id} (`make real MODEL={name}` brings it as GGUF)"))
        for name, of in PACKAGED.items()
    ]
    return [("demo", "the bundled model"), *real, *sorted(ALIASES.items())]


def _edits() -> Rows:
    from locscope.edits import BUNDLED, FORMATS

    return [*BUNDLED.items(), *((e.name, e.title) for e in FORMATS.values())]


def _scans() -> Rows:
    from locscope.scans import SCANS

    return [(entry.name, entry.note) for entry in SCANS.values()]


def _measures() -> Rows:
    from locscope.evaluation.measures import MEASURES

    return [(entry.name, entry.note) for entry in MEASURES.values()]


def _strategies() -> Rows:
    from locscope.selection.strategies import STRATEGIES

    return [(entry.name, entry.note) for entry in STRATEGIES.values()]


def _objectives() -> Rows:
    from locscope.scoring.objectives import OBJECTIVES

    return [(entry.name, entry.title) for entry in OBJECTIVES.values()]


def _recipes() -> Rows:
    from locscope.tuning.recipes import RECIPES

    return [(entry.name, entry.note) for entry in RECIPES.values()]


LISTS: dict[str, Callable[[], Rows]] = {
    "models": _models,
    "edits": _edits,
    "scans": _scans,
    "measures": _measures,
    "strategies": _strategies,
    "objectives": _objectives,
    "recipes": _recipes,
}


def listing(kind: str) -> Rows:
    """Name and description of every entry of a table."""
    if kind not in LISTS:
        raise unknown("list", kind, LISTS)
    load_plugins()
    return LISTS[kind]()
