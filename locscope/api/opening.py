"""Opens an experiment: the settings of a search, checked, and a folder for its trials."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from locscope.api.bars import progress_of
from locscope.api.experiment import Experiment
from locscope.api.loading import Edits, Model, as_loaded, names_of
from locscope.runs.folder import open_run as open_folder
from locscope.settings import SearchSettings, settings_of
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import plan_search


@contextmanager
def open_experiment(
    model: Model = "demo",
    edits: Edits = "demo",
    *,
    output: str | PathLike[str],
    fresh: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Iterator[Experiment]:
    """Opens a folder for trials of one's own; it is locked within the block.

    It has records and no report: `open_run` does not read it.

    Args:
        model: a name, or what `load_model` gives.
        edits: what `load_edits` takes.
        output: the run folder.
        fresh: move one that is there aside.
        progress: show a bar.
        settings: of `locscope search`, as `limit`, `seed`, `parts`, `epochs`, `scans`.

    Yields:
        The experiment: `trial`, `run`, `choose`, `space`, `scans`.

    Raises:
        UsageError: too few edits, unknown settings, or a folder of other settings.

    Example:
        >>> import locscope
        >>> with locscope.open_experiment(output="mine", **example.SMALL) as experiment:
        ...     rates = experiment.space.of("L6.mlp.down").rates
        ...     trials = [experiment.trial("L6.mlp.down", rate) for rate in rates]
        ...     [record.trial.recipe.lr for record in experiment.run(trials)] == list(rates)
        True
    """
    loaded, shown = as_loaded(model, settings), progress_of(progress)
    made = settings_of(SearchSettings, {**settings, **names_of(loaded, edits)})
    plan = plan_search(made, Path(output), shown, loaded)
    with (
        open_folder(plan.folder, plan.frozen, fresh=fresh) as folder,
        LocalTrialRunner(plan, folder, shown) as runner,
    ):
        yield Experiment(runner)
