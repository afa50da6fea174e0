"""Where and how `edit` tunes: what its settings say, or a recommendation. Needs no torch."""

from dataclasses import replace
from pathlib import Path

from locscope.edits import EditSet, narrowed
from locscope.edits.splits import first_edits
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.records import Recipe
from locscope.runs.edit_config import EditConfig, read_recommendation
from locscope.runs.note import absolute
from locscope.scoring.bounds import bound_of
from locscope.scoring.objectives import Objective, objective_of
from locscope.settings import EditSettings, settings_of
from locscope.tuning.recipes import NO_RATE_HINT, recipe_named

EDITS, DEPLOY = "edits", "deploy"
OF_THE_FILE = ("limit", "conflicts", EDITS, DEPLOY)
"""What of a recommendation holds for the file of edits that it was found with alone."""
BY_CONFIG = ("location", "recipe", "lr", "batch_size", "epochs", "prefixes", "prompt_format")
"""Settings that a recommendation decides."""


def wanted_edit(settings: EditSettings, config: Path | None) -> EditConfig:
    """Where and how to tune; a batch of 0 is still to be chosen, and a rate of 0 to be found.

    Raises UsageError where neither a location nor a recommendation is given, or both are, and where
    a recommendation cannot be read.
    """
    if config is not None:
        return _from_config(settings, config)
    if settings.lr is None and settings.recipe in NO_RATE_HINT:
        raise UsageError(f"recipe {settings.recipe} has no rate of its own to start at: give --lr")
    return _from_settings(settings)


def _from_settings(settings: EditSettings) -> EditConfig:
    """Where and how, by the settings; a batch of 0 is still to be chosen, by the edits."""
    if settings.location is None:
        raise UsageError("say where to tune: give either --config or --location")
    recipe = Recipe(
        lr=settings.lr or 0.0,
        batch=settings.batch_size or 0,
        kind=settings.recipe,
        epochs=settings.epochs,
        prefixes=settings.prefixes,
        prompt_format=settings.prompt_format,
    )
    return EditConfig(settings.model, Location.parse(settings.location), recipe)


def _from_config(settings: EditSettings, config: Path) -> EditConfig:
    """Where and how, by a recommendation; another model than its own only where it is named."""
    both = [name for name in BY_CONFIG if name in settings.model_fields_set]
    if both:
        raise UsageError(
            f"--config decides {', '.join(both)} too: leave these out (as options, LOCSCOPE_* and "
            "in --settings), or give --location in the place of --config"
        )
    wanted = read_recommendation(config)
    try:
        settings_of(EditSettings, {k: v for k, v in wanted.data.items() if k != DEPLOY})
    except UsageError as error:
        raise UsageError(f"{config}, under 'data': {error}") from error
    recipe_named(wanted.recipe.kind)
    named = "model" in settings.model_fields_set
    wanted = replace(wanted, data=_of_the_edits(settings, wanted))
    return replace(wanted, model=settings.model) if named else wanted


def _of_the_edits(settings: EditSettings, wanted: EditConfig) -> dict[str, object]:
    """What a recommendation says of edits and texts, as far as it holds for those of the settings.

    How a search chose edits of its file says nothing of another file, nor how many it deployed
    where the settings have a limit of their own.
    """
    given, without = settings.model_fields_set, set[str]()
    if EDITS in given and not _same_file(settings.edits, wanted.data.get(EDITS)):
        without |= {*OF_THE_FILE}
    if "limit" in given:
        without.add(DEPLOY)
    return {key: value for key, value in wanted.data.items() if key not in without}


def _same_file(edits: str, recorded: object) -> bool:
    """Whether edits are of the file that a recommendation names; of one that names none, too."""
    return recorded is None or absolute(edits) == absolute(str(recorded))


def recorded_data(settings: EditSettings, wanted: EditConfig) -> dict[str, object]:
    """What a recommendation says of edits and texts, where the settings say nothing else."""
    found = {key: value for key, value in wanted.data.items() if key != DEPLOY}
    left = {key: value for key, value in found.items() if key not in settings.model_fields_set}
    return settings_of(EditSettings, left).model_dump(include=set(left))


def deployed(edit_set: EditSet, wanted: EditConfig, settings: EditSettings) -> EditSet:
    """The edits that a search fitted its recipe to, where those were fewer than it was given."""
    count = wanted.data.get(DEPLOY)
    if not isinstance(count, int) or count >= len(edit_set.edits):
        return edit_set
    kept = set(first_edits(edit_set.edits, count, settings.seed))
    note = f"{count} of {len(edit_set.edits)} edits: so many was the search asked to deploy"
    return narrowed(edit_set, [edit for edit in edit_set.edits if edit.id in kept], note)


def objective_wanted(wanted: EditConfig) -> Objective:
    """The objective; the bounds of a recommendation are all that its search had."""
    objective = objective_of(wanted.objective, wanted.weights)
    if wanted.bounds is None:
        return objective
    return replace(objective, bounds=tuple(map(bound_of, wanted.bounds)))
