"""Find where to tune: check, scan and search as functions.

Models are names or what `load_model` gives, edits are what `load_edits` takes or gives. `settings`
are the fields of the models in `locscope.settings`, from which the command line has its options
too: `limit=60, parts=("mlp", "attn"), bounds=["locality>=0.9"], weights={"locality": 2}`.
"""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locscope.api.bars import progress_of
from locscope.api.loading import Edits, Model, as_loaded, names_of
from locscope.api.run import Run
from locscope.api.scanned import ScanRun
from locscope.progress import WHOLE, stage
from locscope.records import StageCost
from locscope.scans.run import run_scan
from locscope.settings import ScanSettings, SearchSettings, settings_of
from locscope.workflows.check import check as run_check
from locscope.workflows.scan import context_of, inputs_of, plan_scan
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search as run_search

if TYPE_CHECKING:
    import pandas as pd


def check(model: Model = "demo", edits: Edits = "demo", **settings: Any) -> "pd.DataFrame":
    """Says what was read, whether it can be used, and what a search needs and takes.

    Args:
        model: a name; its weights are not read.
        edits: what `load_edits` takes.
        settings: of a search.

    Returns:
        A frame with what was found, a line a row.

    Raises:
        UsageError: the edits or the settings cannot be used.

    Example:
        >>> import locscope
        >>> "edits" in locscope.check(limit=60).index
        True
    """
    import pandas as pd

    found = run_check(settings_of(SearchSettings, {**settings, **names_of(model, edits)}))
    rows = [(line.name, line.value) for line in found.lines]
    return pd.DataFrame(rows, columns=["name", "value"]).set_index("name")


def scan(
    model: Model = "demo",
    edits: Edits = "demo",
    *,
    scans: str | Sequence[str] = ("weight-gradient",),
    progress: bool = False,
    **settings: Any,
) -> ScanRun:
    """Runs localisation methods on the untouched model; nothing is tuned or written.

    Args:
        model: a name, or what `load_model` gives.
        edits: what `load_edits` takes.
        scans: a name or several, `cheap` or `all`.
        progress: show a bar.
        settings: of `locscope scan`, as `limit`, `corruption`, `requests`.

    Returns:
        The results, with `top`, `plot` and `to_pandas`; a scan that could use no edit warns.

    Raises:
        UsageError: a scan cannot see this model, or the edits cannot be used.

    Example:
        >>> import locscope
        >>> found = locscope.scan("demo", "demo", scans=["logit-lens"], limit=4)
        >>> list(found.top(2)["scan"])
        ['logit-lens', 'logit-lens']
    """
    loaded, shown = as_loaded(model, settings), progress_of(progress)
    named = (scans,) if isinstance(scans, str) else tuple(scans)
    given = {**settings, "scans": named, **names_of(loaded, edits)}
    plan = plan_scan(settings_of(ScanSettings, given), None, shown, loaded)
    context = context_of(plan, shown)
    results = [run_scan(name, context) for name in plan.settings.scans]
    costs = [
        StageCost(f"scan {result.descriptor.name}", result.seconds, 1, 0) for result in results
    ]
    for result in results:
        if not result.usable:
            why = "; ".join(result.notes) or "its notes say nothing"
            warnings.warn(f"{result.descriptor.name} could use no edit: {why}", stacklevel=2)
    return ScanRun(inputs_of(plan, results, costs))


def search(
    model: Model = "demo",
    edits: Edits = "demo",
    *,
    output: str | PathLike[str] | None = None,
    fresh: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Searches the location to tune, or goes on with the search in that folder.

    Args:
        model: a name, or what `load_model` gives.
        edits: what `load_edits` takes.
        output: the run folder (`runs/<name>`).
        fresh: move a run that is there aside.
        progress: show a bar.
        settings: of `locscope search`, as `seed`, `limit`, `strategy`, `budget`, `objective`,
            `bounds`, `parts`, `epochs`.

    Returns:
        The run: `recommendation`, `trials()`, `plot()`, `report()`.

    Raises:
        UsageError: too few edits, unknown settings, or a folder of another search.

    Example:
        >>> import locscope
        >>> run = locscope.search(output="my-run", progress=False, **example.SMALL)
        >>> run.recommendation.location in set(run.trials()["location"])
        True
    """
    loaded, shown = as_loaded(model, settings), progress_of(progress)
    made = settings_of(SearchSettings, {**settings, **names_of(loaded, edits)})
    with stage(shown, "searching", WHOLE):
        plan = plan_search(made, Path(output) if output else None, shown, loaded)
        found = run_search(plan, shown, fresh=fresh)
    return Run(found.folder, found.inputs)
