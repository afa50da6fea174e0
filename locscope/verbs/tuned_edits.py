"""Which edits an edited model is asked: those that it was tuned on, unless others are named.

An edit of the same file that was never tuned is no failure of the model; counted as one, it would
hide what the tuning did.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from locscope.edits import EditSet, narrowed, read_edits
from locscope.edits.checks import drop_edited_neighbours, resolve_conflicts
from locscope.errors import UsageError
from locscope.runs.note import BUNDLED, EditNote
from locscope.settings import EvaluateSettings
from locscope.verbs.session import load_edits


def edits_to_ask(settings: EvaluateSettings, note: EditNote | None) -> EditSet:
    """The edits of the settings, or those that the note of the model names where the settings say
    neither which file nor how many; its notes say which they are."""
    if note is None:
        return load_edits(settings)
    given = settings.model_fields_set & {"edits", "limit"}
    if "edits" not in given:
        settings = settings.model_copy(update={"edits": _recorded(settings.model, note)})
    return _given(settings, note) if given else _tuned(settings, note)


def _recorded(model: str, note: EditNote) -> str:
    if note.edits != BUNDLED and not Path(note.edits).is_file():
        raise UsageError(
            f"{model} was tuned on edits from {note.edits}, which is not there any more: give the "
            "file with --edits"
        )
    return note.edits


def _given(settings: EvaluateSettings, note: EditNote) -> EditSet:
    """The edits that were asked for, and how many of them the model was tuned on, by their ids."""
    found, tuned = load_edits(settings), note.record.trial.edits
    ids = {edit.id for edit in found.edits}
    if ids == set(tuned):
        return found
    shared = len(ids.intersection(tuned))
    lines = [
        f"measured on {_edits(len(ids))}; the model was tuned on {shared} of them, by their ids"
    ]
    return narrowed(found, found.edits, *lines, *_missing(settings, tuned))


def _tuned(settings: EvaluateSettings, note: EditNote) -> EditSet:
    """The edits of the recorded file that the model was tuned on, as they were then."""
    found, trial = read_edits(settings.edits, seed=settings.seed), note.record.trial
    kept = [edit for edit in found.edits if edit.id in trial.edits]
    if not kept:
        raise UsageError(
            f"none of the {_edits(len(trial.edits))} that {settings.model} was tuned on is in "
            f"{settings.edits}: give the file with --edits"
        )
    trimmed = drop_edited_neighbours(resolve_conflicts(kept, settings.conflicts).edits)
    lines = [
        f"measured on {_edits(len(kept))} of the {found.total} in {found.name}: those that the "
        "model was tuned on (--edits or --limit choose others)"
    ]
    asked = narrowed(replace(found, notes=()), trimmed.edits)
    lines += _missing(settings, trial.edits)
    # A search that deployed fewer edits than it was given recorded the hash of all of them.
    whole = drop_edited_neighbours(resolve_conflicts(found.edits, settings.conflicts).edits)
    hashes = {asked.fingerprint, narrowed(found, whole.edits).fingerprint}
    if len(kept) == len(trial.edits) and trial.edit_set not in hashes:
        lines.append(
            f"{settings.edits} is not quite as it was tuned on (changed since, or with repeated "
            "edits that were joined then)"
        )
    return replace(asked, notes=tuple(lines))


def _missing(settings: EvaluateSettings, tuned: Sequence[str]) -> list[str]:
    """A note where the file lacks edits that the model was tuned on."""
    there = {edit.id for edit in read_edits(settings.edits, seed=settings.seed).edits}
    missing = sum(one not in there for one in tuned)
    if not missing:
        return []
    return [
        f"{missing} of the {_edits(len(tuned))} that the model was tuned on are missing from "
        f"{settings.edits}"
    ]


def _edits(count: int) -> str:
    return f"{count} edit{'' if count == 1 else 's'}"
