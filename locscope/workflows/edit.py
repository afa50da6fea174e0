"""`edit`: tune one location on all edits and save the model, so that it is what was measured."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from locscope.edits import EditSet, narrowed
from locscope.errors import UsageError
from locscope.execution.local import as_searched
from locscope.integrations.adapter import write_adapter
from locscope.locations import Location
from locscope.models.aliases import resolve
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress, stage
from locscope.records import Edit, Recipe, Trial, TrialRecord, default_batch
from locscope.runs.new_folder import DELTA, check_new_file, note_on_partials
from locscope.runs.private import without_home
from locscope.scoring.objectives import Objective
from locscope.selection.candidates import rounded
from locscope.settings import EditSettings
from locscope.tuning.recipes import READ_NEUTRAL, TUNES_ALL_BLOCKS
from locscope.tuning.recipes.lofit import unbiased
from locscope.tuning.trial import Tuned, run_trial, starting_rate
from locscope.tuning.workspace import Workspace, trial_threads
from locscope.workflows.deltas import save_delta
from locscope.workflows.early.edits import load_edits
from locscope.workflows.early.wanted import (
    deployed,
    objective_wanted,
    recorded_data,
    wanted_edit,
)
from locscope.workflows.saving import (
    check_output,
    note_on_files,
    save_tuned,
)
from locscope.workflows.workspace import (
    first_step,
    note_on_weights,
    open_model,
    open_workspace,
    write_suite,
)


@dataclass(frozen=True)
class EditPlan:
    """What will be tuned, on what; without a rate, the gradient will tell one.

    `edit_set` is tuned; `given` are all edits that were read, about which the suite is written. It
    `repeats` the trial of a search, number for number.
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
    repeats: bool = False


def plan_edit(
    settings: EditSettings,
    config: Path | None,
    output: Path | None,
    loaded: Loaded | None = None,
    delta: Path | None = None,
    adapter: Path | None = None,
) -> EditPlan:
    """Reads and checks everything; nothing is written and nothing tuned.

    Without an `output` no model will be saved, and without a `delta` no file of what changed; what
    a killed save left beside the output is removed. A model that is `loaded` is not read again.
    """
    if output is not None:
        check_output(output)
    if delta is not None:
        check_new_file(delta, DELTA)
    wanted = wanted_edit(settings, config)
    recipe, find_rate = wanted.recipe, config is None and settings.lr is None
    settings = settings.model_copy(
        update={
            **recorded_data(settings, wanted),
            "model": wanted.model,
            "prompt_format": recipe.prompt_format,
        }
    )
    # Edits before the model, which takes minutes to load.
    given = load_edits(settings)
    edit_set = deployed(given, wanted, settings)
    if recipe.batch == 0:
        recipe = replace(recipe, batch=default_batch(len(edit_set.edits)))
    location, loaded = wanted.location, open_model(settings, loaded)
    slices(loaded.model, location)
    if adapter is not None:
        _check_adaptable(loaded, location)
    if output is not None or delta is not None:
        refuse_unsavable(loaded, location, recipe)
    if output is not None:
        check_output(output, loaded, None if recipe.kind in TUNES_ALL_BLOCKS else location)
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
        objective=objective_wanted(wanted),
        repeats=config is not None,
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
    measured, name = plan.settings.evaluate != "none", f"tuning {plan.location}"
    # What repeats a search's trial has its threads, and so its numbers. An edit at a location of
    # the user's own has all threads, and is done sooner.
    device = plan.loaded.model.device
    with trial_threads(device, alone=True) if plan.repeats else nullcontext():
        workspace = open_edit(plan, progress)
        trial = trial_of(plan, workspace, progress)
        repeated = as_searched(workspace, trial, alone=True) if plan.repeats else nullcontext()
        with stage(progress, name, 1, share=75), repeated:
            return run_trial(workspace, trial, plan.objective, keep=True, measured=measured)


def _alone(edit: Edit) -> Edit:
    """The edit with nothing to be asked but its own prompt."""
    return replace(edit, rephrases=(), neighbours=(), forms=(), multihop=())


def edit(plan: EditPlan, progress: Progress, adapter: Path | None = None) -> TrialRecord:
    """Tunes, measures, saves the edited model or what changed; returns the trial's record.

    The low-rank change of recipe `lora` is written into the folder `adapter` too, for PEFT.
    """
    assert plan.output or plan.delta, "plan an edit that is to be saved with its output"
    code = plan.settings.trust_remote_code
    notes = (*note_on_weights(plan.loaded), *note_on_files(plan.loaded, code=code))
    partials = () if plan.output is None else note_on_partials(plan.output)
    for line in (*notes, *partials):
        progress.say(line)
    tuned = tune(plan, progress)
    with stage(progress, "saving the model", 1, share=10):
        if plan.output is not None:
            said = save_tuned(plan.loaded, tuned, plan.settings, plan.objective, plan.output)
            for line in said:
                progress.say(line)
        if plan.delta is not None:
            save_delta(plan.loaded, tuned, plan.settings, plan.delta)
        if adapter is not None:
            _write_adapter(plan, tuned, adapter)
    return tuned.record


def _write_adapter(plan: EditPlan, tuned: Tuned, folder: Path) -> None:
    pairs = zip(tuned.changes, tuned.stepped[::2], tuned.stepped[1::2], strict=True)
    source = resolve(plan.settings.model)
    # Other tools know neither our short names nor the bundled model's.
    base = source if isinstance(source, str) else without_home(str(source))
    write_adapter(folder, plan.loaded.model, tuple(pairs), base)


def _check_adaptable(loaded: Loaded, location: Location) -> None:
    """A UsageError where PEFT has no low-rank factors for a tensor: experts are stacked in one."""
    for piece in slices(loaded.model, location):
        if loaded.model.get_parameter(piece.name).dim() > 2:
            raise UsageError(
                f"--adapter: PEFT has no factors for {piece.name}, which holds several experts; "
                "leave --adapter out, --output and --delta take them"
            )


def refuse_unsavable(loaded: Loaded, location: Location, recipe: Recipe) -> None:
    """A UsageError where the tuned model has weights that its files have no location for."""
    missing = unbiased(loaded.model, location) if recipe.kind == "lofit" else ()
    if missing:
        raise UsageError(
            f"recipe lofit adds a bias to {missing[0]}, which has none: such a model cannot be "
            "saved; choose another --recipe"
        )
