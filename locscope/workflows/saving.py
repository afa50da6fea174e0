"""Saving a tuned model: its weights, the note that `evaluate` reads, and the card for people."""

from importlib.metadata import version
from pathlib import Path

from locscope.errors import UsageError
from locscope.models.aliases import name_of, resolve
from locscope.models.load import Loaded
from locscope.models.save import save_edited
from locscope.report.output.model_card import model_card
from locscope.runs.card import licence_of, write_card
from locscope.runs.note import DATA, EditNote, absolute, write_note
from locscope.scoring.objectives import Objective
from locscope.settings import SharedSettings
from locscope.tuning.trial import Tuned


def check_output(output: Path) -> None:
    """A UsageError where a model cannot be written there without touching what is there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is there already: choose another directory")


def save_tuned(
    loaded: Loaded, tuned: Tuned, settings: SharedSettings, objective: Objective, output: Path
) -> None:
    """Writes the tuned model into `output`; the settings say which model and edits it is of."""
    home = loaded.directory
    if home is None:
        raise UsageError(
            "a model in memory has no files to copy: take `.model` and call its save_pretrained"
        )
    source = resolve(settings.model)
    by_name = settings.model == "demo" or isinstance(source, str)
    save_edited(home, output, tuned.changes)
    note = EditNote(
        schema_number=1,
        base=settings.model if by_name else str(source),
        base_hash=loaded.info.hash,
        version=version("locscope"),
        edits=absolute(settings.edits),
        record=tuned.record,
        data=_data(settings),
    )
    write_note(output, note)
    write_card(output, model_card(note, name_of(source), objective.bounds, licence_of(home)))


def _data(settings: SharedSettings) -> dict[str, str | int]:
    found = {name: getattr(settings, name, None) for name in DATA}
    plain = {
        n: str(v.expanduser().resolve()) if isinstance(v, Path) else v for n, v in found.items()
    }
    return {name: value for name, value in plain.items() if value is not None}
