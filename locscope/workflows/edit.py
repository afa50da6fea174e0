"""`edit`: tune one location on all edits and save the model, so that it is what was measured."""

from dataclasses import dataclass, replace
from pathlib import Path

from locscope.edits import EditSet, narrowed
from locscope.edits.splits import first_edits
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress, stage
from locscope.records import Edit, Recipe, Trial, TrialRecord, default_batch
from locscope.runs.edit_config import EditConfig, read_recommendation
from locscope.runs.new_folder import note_on_partials
from locscope.runs.note import absolute
from locscope.scoring.bounds import bound_of
from locscope.scoring.objectives import Objective, objective_of
from locscope.selection.candidates import rounded
from locscope.settings import EditSettings, settings_of
from locscope.tuning.recipes import NO_RATE_HINT, READ_NEUTRAL, TUNES_ALL_BLOCKS, recipe_named
from locscope.tuning.recipes.lofit import unbiased
from locscope.tuning.trial import Tuned, run_trial, starting_rate
from locscope.tuning.workspace import Workspace
from locscope.workflows.deltas import check_delta, save_delta
from locscope.workflows.saving import (
    check_output,
    note_on_files,
    save_tuned,
)
from locscope.workflows.workspace import (
    first_step,
    load_edits,
    note_on_weights,
    open_model,
    open_workspace,
    write_suite,
)

EDITS, DEPLOY = "edits", "deploy"
OF_THE_FILE = ("limit", "conflicts", EDITS, DEPLOY)
"""What of a recommendation holds for the file of edits that it was found with alone."""
BY_CONFIG = ("location", "recipe", "lr", "batch_size", "epochs", "prefixes", "prompt_format")
"""Settings that a recommendation decides."""


@dataclass(frozen=True)
class EditPlan:
    """What will be tuned, on what; without a rate, the gradient will tell one.

    `edit_set` is tuned; `given` are all edits that were read, about which the suite is written.
    """

    settings: EditSettings
    loaded: Loaded
    given: EditSet
    edit_set: EditSet
    location: Location
    recipe: Recipe
    find_rate: bool
    output: Path | None
    delta: Path | None
    objective: Objective


def plan_edit(
    settings: EditSettings,
    config: Path | None,
    output: Path | None,
    loaded: Loaded | None = None,
    delta: Path | None = None,
) -> EditPlan:
    """Reads and checks everything; nothing is written and nothing tuned.

    Without an `output` no model will be saved, and without a `delta` no file of what changed; what
    a killed save left beside the output is removed. A model that is `loaded` is not read again.
    """
    if output is not None:
        check_output(output)
    if delta is not None:
        check_delta(delta)
    wanted = _from_config(settings, config) if config else _from_settings(settings)
    recipe, find_rate = wanted.recipe, config is None and settings.lr is None
    if find_rate and recipe.kind in NO_RATE_HINT:
        raise UsageError(f"recipe {recipe.kind} has no rate of its own to start at: give --lr")
    settings = settings.model_copy(
        update={
            **_data(settings, wanted),
            "model": wanted.model,
            "prompt_format": recipe.prompt_format,
        }
    )
    given = load_edits(settings)
    edit_set = _deployed(given, wanted, settings)
    if recipe.batch == 0:
        recipe = replace(recipe, batch=default_batch(len(edit_set.edits)))
    location, loaded = wanted.location, open_model(settings, loaded)
    slices(loaded.model, location)
    if output is not None or delta is not None:
        _check_savable(loaded, location, recipe)
    if output is not None:
        check_output(output, loaded, location)
    return EditPlan(
        settings=settings,
        loaded=loaded,
        given=given,
        edit_set=edit_set,
        location=location,
        recipe=recipe,
        find_rate=find_rate,
        output=output,
        delta=delta,
        objective=_objective(wanted),
    )


def open_edit(plan: EditPlan, progress: Progress) -> Workspace:
    """Writes the evaluation suite and asks the untouched model what the settings want measured."""
    for line in plan.edit_set.notes:
        progress.say(line)
    tuned_below = plan.recipe.kind in TUNES_ALL_BLOCKS
    layer = 0 if tuned_below else plan.location.lowest
    asked, loaded = plan.settings.evaluate, plan.loaded
    # As in the search: which texts are neutral depends on the subjects of all edits.
    given, prefixes = plan.given, plan.recipe.prefixes
    if asked == "full":
        return open_workspace(
            plan.settings, loaded, given, progress, prefixes=prefixes, layer=layer
        )
    if asked == "none":
        given = narrowed(given, [_alone(edit) for edit in given.edits])
    texts = asked != "none" or plan.recipe.kind in READ_NEUTRAL
    with stage(progress, "untouched model", 1):
        found = write_suite(
            plan.settings, loaded, given, prefixes=prefixes, layer=layer, texts=texts
        )
    return replace(found, quick=True)


def trial_of(plan: EditPlan, workspace: Workspace, progress: Progress) -> Trial:
    """The trial that an edit is; its rate is found where none is given."""
    trial = Trial(
        location=plan.location,
        recipe=plan.recipe,
        edits=tuple(edit.id for edit in plan.edit_set.edits),
        split="all",
        rung="edit",
        seed=plan.settings.seed,
        model=plan.loaded.info.hash,
        edit_set=plan.given.fingerprint,
        thorough=plan.settings.evaluate == "full",
        quick=plan.settings.evaluate == "quick",
    )
    if not plan.find_rate:
        return trial
    recipe = trial.recipe
    wanted = first_step(workspace, trial.edits, recipe.batch, recipe.epochs)
    rate = rounded(starting_rate(workspace, trial, wanted))
    progress.say(f"learning rate {rate:g}, where trials of a search start")
    return replace(trial, recipe=replace(recipe, lr=rate))


def tune(plan: EditPlan, progress: Progress) -> Tuned:
    """Tunes, measures and hands out the tuned weights; the model has its own back afterwards."""
    workspace = open_edit(plan, progress)
    trial = trial_of(plan, workspace, progress)
    with stage(progress, f"tuning {plan.location}", 1):
        measured = plan.settings.evaluate != "none"
        return run_trial(workspace, trial, plan.objective, keep=True, measured=measured)


def _alone(edit: Edit) -> Edit:
    """The edit with nothing to be asked but its own prompt."""
    return replace(edit, rephrases=(), neighbours=(), forms=(), multihop=())


def edit(plan: EditPlan, progress: Progress) -> TrialRecord:
    """Tunes, measures, saves the edited model or what changed; returns the trial's record."""
    assert plan.output or plan.delta, "plan an edit that is to be saved with its output"
    code = plan.settings.trust_remote_code
    notes = (*note_on_weights(plan.loaded), *note_on_files(plan.loaded, code=code))
    for line in (*notes, *note_on_partials(plan.output)):
        progress.say(line)
    tuned = tune(plan, progress)
    if plan.output is not None:
        save_tuned(plan.loaded, tuned, plan.settings, plan.objective, plan.output)
    if plan.delta is not None:
        save_delta(plan.loaded, tuned, plan.settings, plan.delta)
    return tuned.record


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
            f"--config decides {', '.join(both)} too: give either --config or --location"
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


def _data(settings: EditSettings, wanted: EditConfig) -> dict[str, object]:
    """The same, where the settings say nothing else."""
    found = {key: value for key, value in wanted.data.items() if key != DEPLOY}
    left = {key: value for key, value in found.items() if key not in settings.model_fields_set}
    return settings_of(EditSettings, left).model_dump(include=set(left))


def _deployed(edit_set: EditSet, wanted: EditConfig, settings: EditSettings) -> EditSet:
    """The edits that a search fitted its recipe to, where those were fewer than it was given."""
    count = wanted.data.get(DEPLOY)
    if not isinstance(count, int) or count >= len(edit_set.edits):
        return edit_set
    kept = set(first_edits(edit_set.edits, count, settings.seed))
    note = f"{count} of {len(edit_set.edits)} edits: so many was the search asked to deploy"
    return narrowed(edit_set, [edit for edit in edit_set.edits if edit.id in kept], note)


def _objective(wanted: EditConfig) -> Objective:
    """The objective; the bounds of a recommendation are all that its search had."""
    objective = objective_of(wanted.objective, wanted.weights)
    if wanted.bounds is None:
        return objective
    return replace(objective, bounds=tuple(map(bound_of, wanted.bounds)))


def _check_savable(loaded: Loaded, location: Location, recipe: Recipe) -> None:
    """A UsageError where the tuned model has weights that its files have no location for."""
    missing = unbiased(loaded.model, location) if recipe.kind == "lofit" else ()
    if missing:
        raise UsageError(
            f"recipe lofit adds a bias to {missing[0]}, which has none: such a model cannot be "
            "saved; choose another --recipe"
        )
