"""Change a model and measure it: edit, tuned and evaluate as functions.

Models, edits and `settings` are as in `finding.py`.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from locscope.api.bars import progress_of
from locscope.api.edited import EditedModel, Evaluated, edited_model, evaluated
from locscope.api.loading import (
    Edits,
    Model,
    as_loaded,
    load_model,
    name_of,
    names_of,
    source_of,
)
from locscope.api.run import Run
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.streaming.blocks import refuse_copy
from locscope.progress import Silent
from locscope.settings import EditSettings, EvaluateSettings, settings_of
from locscope.tuning.trial import as_tuned
from locscope.workflows.early.edits import load_edits
from locscope.workflows.edit import EditPlan, open_edit, plan_edit, refuse_unsavable, trial_of, tune
from locscope.workflows.evaluate import EvaluatePlan, plan_evaluate
from locscope.workflows.evaluate import evaluate as run_evaluate


def edit(
    model: Model = "demo",
    edits: Edits = "demo",
    *,
    location: Location | str | None = None,
    lr: float | None = None,
    config: "str | PathLike[str] | Run | None" = None,
    inplace: bool = False,
    progress: bool = False,
    **settings: Any,
) -> EditedModel:
    """Tunes one location on all edits and gives the tuned model; nothing is written.

    Args:
        model: a name, or what `load_model` gives; it stays untouched unless `inplace`.
        edits: what `load_edits` takes.
        location: as `L22.mlp.down`; or give `config`.
        lr: learning rate of Adam; without it, the one at which trials of a search start.
        config: a run, its folder or a recommendation.yaml: location and recipe are its own.
        inplace: put the tuned weights into the given model and make no copy.
        progress: show a bar.
        settings: of `locscope edit`, as `batch_size`, `epochs`, `recipe`, `limit`.

    Returns:
        The tuned model with what was measured of it, `save` and `delta`.

    Raises:
        UsageError: the model lacks the location, or location and config are both given.

    Example:
        >>> import locscope
        >>> edited = locscope.edit("demo", "demo", location="L6.mlp.down", lr=1e-3, limit=8)
        >>> edited.measures["reliability"] >= 0
        True
    """
    loaded, shown = as_loaded(model, settings), progress_of(progress)
    plan = _edit_plan(loaded, edits, location, lr, config, settings)
    # Tuned weights without a place in the model cannot be handed out.
    refuse_unsavable(plan.loaded, plan.location, plan.recipe)
    if not inplace:
        refuse_copy(loaded.model)
    found = tune(plan, shown)
    return edited_model(plan, found, loaded.model if inplace else copy.deepcopy(loaded.model))


@contextmanager
def tuned(
    model: Model,
    edits: Edits = "demo",
    *,
    location: Location | str | None = None,
    lr: float | None = None,
    config: "str | PathLike[str] | Run | None" = None,
    **settings: Any,
) -> Iterator[Loaded]:
    """The model tuned within the block; afterwards its weights are back, bit for bit.

    Args:
        model: a name, or what `load_model` gives.
        edits: what `load_edits` takes.
        location: as `L22.mlp.down`; or give `config`.
        lr: learning rate; without it, the one at which trials of a search start.
        config: a run, its folder or a recommendation.yaml.
        settings: of `locscope edit`.

    Yields:
        The model, tuned.

    Raises:
        UsageError: as `edit`.

    Example:
        >>> import locscope
        >>> model = locscope.load_model("demo", device="cpu")
        >>> with locscope.tuned(model, location="L6.mlp.down", lr=1e-3, limit=8) as changed:
        ...     changed.model is model.model
        True
    """
    loaded = as_loaded(model, settings)
    plan = _edit_plan(loaded, edits, location, lr, config, settings)
    workspace = open_edit(plan, Silent())
    with as_tuned(workspace, trial_of(plan, workspace, Silent())):
        yield loaded


def evaluate(
    model: "Model | EditedModel",
    edits: Edits = None,
    *,
    base: Model | None = None,
    progress: bool = False,
    **settings: Any,
) -> Evaluated:
    """Measures an edited model: what it says to the edits, and how far it is from its base.

    Args:
        model: a directory that `edit` wrote, a name, what `load_model` or `edit` gives.
        edits: what `load_edits` takes; without any, those that a saved model was tuned on, else
            `demo`.
        base: the untouched model; known of what `edit` gave.
        progress: show a bar.
        settings: of `locscope evaluate`.

    Returns:
        The measures by name; those that need a base are NaN without one.

    Raises:
        UsageError: the edits cannot be used, or a recorded base has changed.

    Example:
        >>> import locscope
        >>> locscope.evaluate("demo", "demo", limit=4)["reliability"]
        0.0
    """
    shown = progress_of(progress)
    if isinstance(model, str | PathLike):
        named = {} if edits is None else {"edits": source_of(edits)}
        named |= {} if base is None else {"base": name_of(base)}
        given = {**settings, "model": os.fspath(model), **named}
        return evaluated(run_evaluate(plan_evaluate(settings_of(EvaluateSettings, given)), shown))
    loaded, untouched = _sides(model, base, settings)
    asked = "demo" if edits is None else edits
    made = settings_of(EvaluateSettings, {**settings, **names_of(loaded, asked)})
    read = load_edits(made)
    return evaluated(run_evaluate(EvaluatePlan(loaded, untouched, made, read, read), shown))


def _sides(
    model: "Loaded | EditedModel", base: Model | None, settings: dict[str, Any]
) -> tuple[Loaded, Loaded | None]:
    """The model that is measured, and its base where there is one."""
    if isinstance(model, EditedModel):
        # Tuned in place there is no base any more: its weights are those of the edited model.
        base = model.base if base is None and model.model is not model.base.model else base
        model = load_model(model.model, model.base.tokenizer)
    return model, None if base is None else as_loaded(base, settings)


def _edit_plan(
    loaded: Loaded,
    edits: Edits,
    location: Location | str | None,
    lr: float | None,
    config: "str | PathLike[str] | Run | None",
    settings: dict[str, Any],
) -> EditPlan:
    if config is not None and (location is not None or lr is not None):
        raise UsageError("config decides location and lr too: give either config or location")
    path = config.folder if isinstance(config, Run) else config
    own = {"location": None if location is None else str(location), "lr": lr}
    given = {
        **settings,
        **{name: value for name, value in own.items() if value is not None},
        **names_of(loaded, edits),
    }
    made = settings_of(EditSettings, given)
    return plan_edit(made, None if path is None else Path(path), None, loaded)
