"""The trials of a run as an Optuna study, for optuna-dashboard and Optuna's plots.

A study is a copy for viewing: a search reads its records, never a study.
"""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locscope.errors import UsageError
from locscope.progress import Progress, Silent, track
from locscope.records import TrialRecord
from locscope.runs.files import explained, write_atomic_with
from locscope.runs.tables import layer_and_part

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STUDY = "locscope"


def write_study(
    records: Sequence[TrialRecord], path: Path, progress: Progress | None = None
) -> int:
    """Writes a study with all trials into a new SQLite file; returns the number of trials.

    A trial has `location`, `layer` (-1 where it has more than one), `part` and `lr` as parameters,
    its score as value (to maximise), and the measures, rung, split, seed, recipe and costs as user
    attributes. Scores of different rungs or splits are measured on different edits: filter by
    `rung` and `split` before comparing. A trial without a score has the state FAIL. Raises
    UsageError where the file exists, or Optuna is not installed.
    """
    check_study(path)
    optuna = _optuna()
    kinds = _distributions(records)
    trials = [_trial(record, kinds) for record in records]

    def write(partial: Path) -> None:
        storage = optuna.storages.RDBStorage(f"sqlite:///{partial}")
        try:
            made = optuna.create_study(storage=storage, study_name=STUDY, direction="maximize")
            # Optuna takes some 0.05 s for each, most of it for the attributes.
            for trial in track(progress or Silent(), "writing the study", trials):
                made.add_trial(trial)
        finally:
            # Else SQLite may keep the file open while it is moved into its place.
            storage.remove_session()
            storage.engine.dispose()

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic_with(path.absolute(), write)
    finally:
        optuna.logging.set_verbosity(before)
    return len(trials)


def check_study(path: Path) -> None:
    """Raises UsageError where no study can be written: the file exists, or there is no Optuna."""
    with explained(f"write {path}"):
        if path.exists():
            raise UsageError(f"{path} is there already: choose another file for --optuna")
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "--optuna needs Optuna, which is not installed: pip install 'locscope[optuna]'"
        ) from None
    return optuna


def _distributions(records: Sequence[TrialRecord]) -> "dict[str, BaseDistribution]":
    """The range of each parameter: one for all trials, as Optuna's plots need."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sites = [layer_and_part(record.trial.location) for record in records] or [(0, "")]
    rates = [record.trial.recipe.lr for record in records] or [1.0]
    locations = sorted({str(record.trial.location) for record in records}) or [""]
    layers = [layer for layer, _ in sites]
    return {
        "location": CategoricalDistribution(locations),
        "layer": IntDistribution(min(layers), max(layers)),
        "part": CategoricalDistribution(sorted({part for _, part in sites})),
        "lr": FloatDistribution(min(rates), max(rates), log=True),
    }


def _trial(record: TrialRecord, kinds: "dict[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    layer, part = layer_and_part(record.trial.location)
    measured = not isnan(record.score)
    return create_trial(
        params={
            "location": str(record.trial.location),
            "layer": layer,
            "part": part,
            "lr": record.trial.recipe.lr,
        },
        distributions=kinds,
        value=record.score if measured else None,
        state=TrialState.COMPLETE if measured else TrialState.FAIL,
        user_attrs=attributes(record),
    )


def attributes(record: TrialRecord) -> dict[str, str | int | float]:
    """The other values of a trial, flat: measures by name, those without a value left out."""
    trial, recipe = record.trial, record.trial.recipe
    values = {
        "id": trial.id,
        "rung": trial.rung,
        "split": trial.split,
        "seed": trial.seed,
        "edits": len(trial.edits),
        "recipe": recipe.kind,
        "batch": recipe.batch,
        "status": record.status,
        "score_name": record.score_name,
        "violated": "; ".join(record.violated),
        "parameter_count": record.parameter_count,
        "steps": record.steps,
    }
    numbers = {"change_norm": record.change_norm, "seconds": record.seconds, "flops": record.flops}
    numbers |= {measure.name: measure.value for measure in record.measures}
    return values | {name: value for name, value in numbers.items() if not isnan(value)}
