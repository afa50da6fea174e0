"""Which edits an edited model is asked: those that it was tuned on, unless others are named.

An edit of the same file that was never tuned is no failure of the model; counted as one, it would
hide what the tuning did.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from locscope.edits import EditSet, narrowed, read_edits
from locscope.edits.sources import on_hub
from locscope.errors import UsageError
from locscope.runs.note import BUNDLED, EditNote
from locscope.settings import EvaluateSettings, settings_of


def as_recorded(settings: EvaluateSettings, note: EditNote | None) -> EvaluateSettings:
    """The settings with what was recorded where they say nothing themselves, so that a model gives
    the numbers that it gave when it was tuned. What chose edits of its file says nothing of others.
    """
    if note is None:
        return settings
    given = settings.model_fields_set
    found = {**note.data, "prompt_format": note.record.trial.recipe.prompt_format}
    if "edits" not in given:
        found["edits"] = _recorded(settings.model, note)
    if given & {"edits", "limit"}:
        found = {key: value for key, value in found.items() if key not in ("limit", "conflicts")}
    wanted = {key: value for key, value in found.items() if key not in given}
    return settings_of(EvaluateSettings, {**settings.model_dump(include=given), **wanted})


def edits_to_ask(
    settings: EvaluateSettings, note: EditNote | None, given: EditSet, *, named: bool
) -> EditSet:
    """Which of the edits that were `given` are measured, as its notes say: those that the model was
    tuned on, by its note, unless the user `named` a file or how many.

    The evaluation suite is about all that were given: their subjects are in no neutral text.
    """
    if note is None:
        return given
    return _given(settings, note, given) if named else _tuned(settings, note, given)


def _recorded(model: str, note: EditNote) -> str:
    if not (note.edits in BUNDLED or on_hub(note.edits) or Path(note.edits).is_file()):
        raise UsageError(
            f"{model} was tuned on edits from {note.edits}, which is not there any more: give the "
            "file with --edits"
        )
    return note.edits


def _given(settings: EvaluateSettings, note: EditNote, given: EditSet) -> EditSet:
    """The edits that were asked for, and how many of them the model was tuned on, by their ids."""
    tuned, ids = note.record.trial.edits, {edit.id for edit in given.edits}
    if ids == set(tuned):
        return given
    shared = len(ids.intersection(tuned))
    lines = [
        f"measured on {_edits(len(ids))}; the model was tuned on {shared} of them, by their ids"
    ]
    return narrowed(given, given.edits, *lines, *_missing(settings, tuned))


def _tuned(settings: EvaluateSettings, note: EditNote, given: EditSet) -> EditSet:
    """The edits of the recorded file that the model was tuned on, as they were then."""
    trial = note.record.trial
    kept = [edit for edit in given.edits if edit.id in trial.edits]
    if not kept:
        raise UsageError(
            f"none of the {_edits(len(trial.edits))} that {settings.model} was tuned on is in "
            f"{settings.edits}: give the file with --edits"
        )
    lines = [
        f"measured on {_edits(len(kept))} of the {given.total} in {given.name}: those that the "
        "model was tuned on (--edits or --limit choose others)"
    ]
    lines += _missing(settings, trial.edits)
    if len(kept) == len(trial.edits) and trial.edit_set != given.fingerprint:
        lines.append(f"{settings.edits} is not quite as it was tuned on: changed since")
    return narrowed(replace(given, notes=()), kept, *lines)


def _missing(settings: EvaluateSettings, tuned: Sequence[str]) -> list[str]:
    """A note where the file lacks edits that the model was tuned on."""
    # All of the file, whatever the limit: what it leaves out is not missing.
    there = {edit.id for edit in read_edits(settings.edits, seed=settings.seed).edits}
    missing = sum(edit not in there for edit in tuned)
    if not missing:
        return []
    return [
        f"{missing} of the {_edits(len(tuned))} that the model was tuned on are missing from "
        f"{settings.edits}"
    ]


def _edits(count: int) -> str:
    return f"{count} edit{'' if count == 1 else 's'}"
