"""locscope: where should a language model be fine-tuned, so that these facts change and no others?

    import locscope

    run = locscope.search("demo", "demo", output="my-run", limit=60)
    run.recommendation.location, run.recommendation.lr
    edited = locscope.edit("demo", "demo", config="my-run")

Everything here is imported when it is first used: `import locscope` itself loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from locscope.api.changing import edit as edit
    from locscope.api.changing import evaluate as evaluate
    from locscope.api.changing import tuned as tuned
    from locscope.api.deltas import apply as apply
    from locscope.api.deltas import revert as revert
    from locscope.api.edited import EditedModel as EditedModel
    from locscope.api.edited import Evaluated as Evaluated
    from locscope.api.experiment import Experiment as Experiment
    from locscope.api.extending import register_format as register_format
    from locscope.api.extending import register_measure as register_measure
    from locscope.api.extending import register_recipe as register_recipe
    from locscope.api.extending import register_scan as register_scan
    from locscope.api.extending import register_strategy as register_strategy
    from locscope.api.finding import check as check
    from locscope.api.finding import scan as scan
    from locscope.api.finding import search as search
    from locscope.api.loading import load_edits as load_edits
    from locscope.api.loading import load_model as load_model
    from locscope.api.opening import open_experiment as open_experiment
    from locscope.api.run import Run as Run
    from locscope.api.run import open_run as open_run
    from locscope.api.scanned import ScanRun as ScanRun
    from locscope.api.tables import list_edits as list_edits
    from locscope.api.tables import list_measures as list_measures
    from locscope.api.tables import list_models as list_models
    from locscope.api.tables import list_objectives as list_objectives
    from locscope.api.tables import list_recipes as list_recipes
    from locscope.api.tables import list_scans as list_scans
    from locscope.api.tables import list_strategies as list_strategies
    from locscope.locations import Location as Location

_HOMES = {
    "locscope.api.deltas": ("apply", "revert"),
    "locscope.api.edited": ("EditedModel", "Evaluated"),
    "locscope.api.experiment": ("Experiment",),
    "locscope.api.opening": ("open_experiment",),
    "locscope.api.extending": (
        *("register_format", "register_measure", "register_recipe", "register_scan"),
        "register_strategy",
    ),
    "locscope.api.loading": ("load_edits", "load_model"),
    "locscope.api.run": ("Run", "open_run"),
    "locscope.api.scanned": ("ScanRun",),
    "locscope.api.tables": (
        *("list_edits", "list_measures", "list_models", "list_objectives", "list_recipes"),
        *("list_scans", "list_strategies"),
    ),
    "locscope.api.changing": ("edit", "evaluate", "tuned"),
    "locscope.api.finding": ("check", "scan", "search"),
    "locscope.locations": ("Location",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name, imported now."""
    if name not in _HOME:
        raise AttributeError(f"module 'locscope' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOME])
