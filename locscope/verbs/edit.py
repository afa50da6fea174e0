"""`edit`: tune one location on all edits and save the model, so that it is what was measured."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import locscope
from locscope.edits import EditSet
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import put, slices
from locscope.models.save import save_edited
from locscope.progress import Progress
from locscope.records import Recipe, Trial, TrialRecord, dumps
from locscope.runs.recommendation import read_recommendation
from locscope.scans import run_scan
from locscope.scans.bench import ScanBench
from locscope.selection.candidates import FIRST_STEP, rounded
from locscope.settings import EditSettings
from locscope.tuning.masters import Change
from locscope.tuning.orders import default_batch
from locscope.tuning.trial import Bench, run_keeping
from locscope.verbs.session import Session, load_edits, open_model, open_session

NOTE = "locscope.json"
"""Written beside the weights: what the model was before, and what was done to it."""


@dataclass(frozen=True)
class EditPlan:
    """What will be tuned, on what; `recipe` lacks only a rate that the gradient will tell."""

    settings: EditSettings
    loaded: Loaded
    edit_set: EditSet
    location: Location
    recipe: Recipe
    find_rate: bool
    output: Path


def plan_edit(settings: EditSettings, config: Path | None, output: Path) -> EditPlan:
    """Reads and checks everything; nothing is written and nothing tuned."""
    if (config is None) == (settings.location is None):
        raise UsageError("say where to tune: give either --config or --location")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is there already: choose another --output")
    edit_set = load_edits(settings)
    batch = settings.batch_size or default_batch(len(edit_set.edits))
    recipe = Recipe(
        lr=settings.lr or 0.0,
        batch=batch,
        epochs=settings.epochs,
        prefixes=settings.prefixes,
        prompt_format=settings.prompt_format,
    )
    place = settings.location or ""
    if config is not None:
        wanted = read_recommendation(config)
        place, recipe = wanted.location, wanted.recipe
        settings = settings.model_copy(update={"prompt_format": recipe.prompt_format})
    location = Location.parse(place)
    loaded = open_model(settings)
    slices(loaded.model, location)
    return EditPlan(settings, loaded, edit_set, location, recipe, recipe.lr == 0.0, output)


def edit(plan: EditPlan, progress: Progress) -> TrialRecord:
    """Tunes, measures, saves the edited model; returns the trial's record."""
    session = open_session(
        plan.settings, plan.loaded, plan.edit_set, progress, prefixes=plan.recipe.prefixes
    )
    recipe = plan.recipe
    if plan.find_rate:
        recipe = replace(recipe, lr=_rate(plan, session, progress))
        progress.say(f"learning rate {recipe.lr:g}, where trials of a search start")
    trial = Trial(
        location=str(plan.location),
        recipe=recipe,
        edits=tuple(edit.id for edit in plan.edit_set.edits),
        split="all",
        rung="edit",
        seed=plan.settings.seed,
        model=plan.loaded.info.hash,
        edit_set=plan.edit_set.fingerprint,
        thorough=True,
    )
    progress.start(f"tuning {plan.location}", 1)
    tuned = run_keeping(
        Bench(plan.loaded, session.exam, session.trunk), trial, session.before, keep=True
    )
    progress.finish()
    assert plan.loaded.directory is not None
    save_edited(plan.loaded.directory, plan.output, _tensors(plan.loaded, tuned.changes))
    _write_note(plan, tuned.record)
    return tuned.record


def read_note(directory: Path) -> dict[str, str]:
    """The base and its hash that were recorded at saving; empty for any other model."""
    path = directory / NOTE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
        return {key: str(found[key]) for key in ("base", "base_hash")}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot read {path}: give --base instead") from error


def _rate(plan: EditPlan, session: Session, progress: Progress) -> float:
    """The rate at which Adam's first step is predicted to change the loss as a search wants."""
    ids = tuple(edit.id for edit in plan.edit_set.edits)
    bench = ScanBench(plan.loaded, session.exam, session.trunk, ids, plan.settings.seed, progress)
    l1 = {
        (s.layer, s.part): s.score
        for s in run_scan("weight-gradient", bench).scores
        if s.variant == "l1"
    }
    total = sum(
        l1[layer, site.part]
        for site in plan.location.sites
        for layer in range(site.first, site.last + 1)
    )
    return rounded(FIRST_STEP / total)


def _tensors(loaded: Loaded, changes: tuple[Change, ...]) -> dict[str, Tensor]:
    """Whole parameters with the tuned weights in their places."""
    named = dict(loaded.model.named_parameters())
    found: dict[str, Tensor] = {}
    for change in changes:
        name = change.slice.name
        found.setdefault(name, named[name].detach().to("cpu", torch.float32, copy=True))
        put(found[name], change.slice, change.values.float())
    return found


def _write_note(plan: EditPlan, record: TrialRecord) -> None:
    base = Path(plan.settings.model)
    note = {
        "schema": 1,
        "base": str(base.resolve()) if base.is_dir() else plan.settings.model,
        "base_hash": plan.loaded.info.hash,
        "version": locscope.__version__,
        "location": record.trial.location,
        "parameters": record.parameters,
        "edits": plan.settings.edits,
        "edits_hash": plan.edit_set.fingerprint,
        "record": json.loads(dumps(record)),
    }
    (plan.output / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
