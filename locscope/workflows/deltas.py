"""`edit --delta`, `apply` and `revert`: an edit as a file, put on a model and taken off it.

Models are handled as files: nothing is loaded that a delta does not change, whatever their size.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from locscope.models.aliases import DEMO, Source, name_of, resolve
from locscope.models.checkpoint import Checkpoint, digest, read_checkpoint
from locscope.models.delta import (
    Delta,
    changes_of,
    delta_of,
    read_delta,
    stored_in,
    turned,
    write_delta,
)
from locscope.models.files import stays
from locscope.models.hub import locate
from locscope.models.load import Loaded
from locscope.models.save import save_edited, written_anew
from locscope.report.output.model_card import card_of_deltas, model_card
from locscope.runs.card import NAME as CARD
from locscope.runs.card import licence_of, write_card
from locscope.runs.files import explained
from locscope.runs.new_folder import check_new, check_room, new_folder
from locscope.runs.note import write_note
from locscope.settings import SharedSettings
from locscope.tuning.trial import Tuned
from locscope.workflows.saving import not_saved, note_of, note_on_links


def save_delta(loaded: Loaded, tuned: Tuned, settings: SharedSettings, path: Path) -> None:
    """Writes what an edit changed; `loaded` is the untouched model.

    Raises UsageError where the disk refuses, LocscopeError where a weight cannot be stored.
    """
    checkpoint = None if loaded.directory is None else read_checkpoint(loaded.directory)
    note = note_of(loaded, tuned, settings)
    # What became of each edit is in the run; a delta is passed on, and says what was measured.
    note = replace(note, record=replace(note.record, outcomes=()))
    with explained(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_delta(delta_of(path, note, tuned.changes, checkpoint, loaded.model))


def apply_deltas(paths: Sequence[Path], model: str | None, output: Path) -> tuple[str, ...]:
    """Writes the model with the deltas put on, in their order; returns lines to say.

    Without a `model` it is the one that the first delta was made on. Raises UsageError where a
    delta does not fit, or the output cannot be written.
    """
    check_new(output)
    deltas = [read_delta(path) for path in paths]
    source = resolve(model or deltas[0].note.base)
    checkpoint = read_checkpoint(locate(source))
    tensors = turned(deltas, stored_in(checkpoint), str(model or deltas[0].note.base))
    licence = licence_of(checkpoint.directory) if _has_card(checkpoint) else {}
    # By the digest: of another base nothing that the note says was measured.
    total, note = digest(checkpoint), deltas[-1].note
    measured = len(deltas) == 1 and note.base_hash == total
    with _writing(checkpoint, output, tensors) as partial:
        if measured:
            write_note(partial, replace(note, base=_named(source)))
            write_card(partial, model_card(note, name_of(source), (), licence))
        else:
            notes = [delta.note for delta in deltas]
            write_card(partial, card_of_deltas(notes, name_of(source), licence))
        save_edited(checkpoint, partial, changes_of(tensors))
    lines = () if measured else (_not_measured(deltas, total, output, _named(source)),)
    return (*_on_files(checkpoint, output), *lines)


def revert_deltas(paths: Sequence[Path], model: str, output: Path) -> tuple[str, ...]:
    """Writes the model with the deltas taken off, the last one first; returns lines to say.

    Raises UsageError as `apply_deltas`.
    """
    check_new(output)
    deltas = [read_delta(path) for path in paths]
    checkpoint = read_checkpoint(locate(resolve(model)))
    tensors = turned(deltas, stored_in(checkpoint), model, back=True)
    with _writing(checkpoint, output, tensors) as partial:
        save_edited(checkpoint, partial, changes_of(tensors))
    return _on_files(checkpoint, output)


@contextmanager
def _writing(checkpoint: Checkpoint, output: Path, changed: Iterable[str]) -> Iterator[Path]:
    """A new folder for a model of which tensors of these keys change; errors of the disk become
    lines."""
    check_room(output, written_anew(checkpoint, output, changed))
    with explained(f"save the model (nothing is left in {output})"), new_folder(output) as partial:
        yield partial


def _on_files(checkpoint: Checkpoint, output: Path) -> tuple[str, ...]:
    """What of the folder was not saved, and which files of what was are those of the base."""
    return (*not_saved(checkpoint, code=False), *note_on_links(checkpoint, output))


def _has_card(checkpoint: Checkpoint) -> bool:
    return stays(checkpoint.directory / CARD, checkpoint.directory)


def _named(source: Source) -> str:
    """A model as notes write it."""
    return "demo" if source == DEMO else str(source)


def _not_measured(deltas: Sequence[Delta], total: str, output: Path, base: str) -> str:
    """Why nothing is known of how the model does."""
    why = "several deltas were put on"
    if len(deltas) == 1:
        made = deltas[0].note.base_hash
        why = f"the delta was made on a model with digest {made}, and this one has {total}"
    return (
        f"{why}: what was measured does not hold for it; measure it with `locscope evaluate "
        f"--model {output} --base {base} --edits FILE`"
    )
