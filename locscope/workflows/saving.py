"""Saving a tuned model: its weights, the note that `evaluate` reads, and the card for people."""

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from locscope.errors import LocscopeError, UsageError
from locscope.locations import Location
from locscope.models.aliases import name_of, resolve
from locscope.models.checkpoint import Checkpoint, digest, read_checkpoint
from locscope.models.delta import disk_errors
from locscope.models.files import belonging, in_words, left_out, stays
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.models.save import check_savable, save_edited, written_anew
from locscope.report.output.model_card import model_card
from locscope.runs.card import NAME as CARD
from locscope.runs.card import licence_of, write_card
from locscope.runs.files import explained
from locscope.runs.new_folder import check_new, check_room, new_folder
from locscope.runs.note import DATA, EditNote, absolute, write_note
from locscope.scoring.objectives import Objective
from locscope.settings import SharedSettings
from locscope.tuning.trial import Tuned


def check_output(
    output: Path, loaded: Loaded | None = None, location: Location | None = None
) -> None:
    """A UsageError where a model cannot be written there without touching what is there.

    With the model that is to be tuned, also where its files do not fit on that disk; what a save of
    it left that was killed is removed. A LocscopeError where its files have no tensor for a weight
    of the location (any, for None).
    """
    check_new(output)
    if loaded is None or loaded.directory is None:
        return
    checkpoint = read_checkpoint(loaded.directory)
    location = location or Location.parse(f"L0-{loaded.info.layers - 1}.block")
    names = [part.name for part in slices(loaded.model, location)]
    check_savable(checkpoint, names)
    check_room(output, written_anew(checkpoint, output, names, code=True))


def note_on_files(loaded: Loaded, *, code: bool = False) -> tuple[str, ...]:
    """What of the model's folder is not saved, with the Python modules unless there is `code`."""
    return () if loaded.directory is None else not_saved(read_checkpoint(loaded.directory), code)


def not_saved(checkpoint: Checkpoint, code: bool) -> tuple[str, ...]:
    """The same of a checkpoint."""
    home = checkpoint.directory
    others = left_out(home, belonging(home, checkpoint.shards, code=code))
    if not others:
        return ()
    return (f"not a part of the model that was read, and not saved: {in_words(others)}",)


def note_on_links(checkpoint: Checkpoint, output: Path) -> tuple[str, ...]:
    """How many weight files of a saved model are those of its base."""
    shards = list(checkpoint.shards)
    same = [path for path in shards if path.samefile(output / path.name)]
    if not same:
        return ()
    return (
        f"{len(same)} of {len(shards)} weight files of {output} are unchanged, and are the same "
        "files as the base's (hard links, which take no room): what writes to one in place, as "
        f"`cp` onto it does, changes both models; `cp -r {output} COPY` makes files of its own",
    )


def save_tuned(
    loaded: Loaded, tuned: Tuned, settings: SharedSettings, objective: Objective, output: Path
) -> tuple[str, ...]:
    """Writes the tuned model into `output`; the settings say which model and edits it is of.

    Returns lines to say: which files are those of the base.

    The folder appears whole, when every byte was read back from the disk, or not at all. Raises
    UsageError where the disk refuses, LocscopeError where the files of the base are not those that
    were loaded.
    """
    home = loaded.directory
    if home is None:
        raise UsageError(
            "a model in memory has no files to copy: take `.model` and call its save_pretrained"
        )
    with explained(f"save the model (nothing is left in {output})"), ExitStack() as written:
        checkpoint = read_checkpoint(home)
        if digest(checkpoint) != loaded.info.hash:
            raise LocscopeError(
                f"the model in '{home}' has changed since it was loaded: give the command again"
            )
        note, name = note_of(loaded, tuned, settings), name_of(resolve(settings.model))
        licence = licence_of(home) if stays(home / CARD, home) else {}
        partial = written.enter_context(new_folder(output))
        write_note(partial, note)
        write_card(partial, model_card(note, name, objective.bounds, licence))
        save_edited(checkpoint, partial, tuned.changes, code=settings.trust_remote_code)
    return note_on_links(checkpoint, output)


def save_in_memory(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, output: Path
) -> None:
    """Writes a model that has no files, as Hugging Face does, whole or not at all.

    Raises UsageError where the disk refuses.
    """
    with (
        explained(f"save the model (nothing is left in {output})"),
        new_folder(output) as partial,
        disk_errors(),
    ):
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def note_of(loaded: Loaded, tuned: Tuned, settings: SharedSettings) -> EditNote:
    """The note of a tuned model; the settings say which model and edits it is of."""
    source = resolve(settings.model)
    by_name = settings.model == "demo" or isinstance(source, str)
    return EditNote(
        schema_number=1,
        base=settings.model if by_name else str(source),
        base_hash=loaded.info.hash,
        version=version("locscope"),
        edits=absolute(settings.edits),
        record=tuned.record,
        data=_data(settings),
    )


def _data(settings: SharedSettings) -> dict[str, str | int]:
    found = {name: getattr(settings, name, None) for name in DATA}
    plain = {
        n: str(v.expanduser().resolve()) if isinstance(v, Path) else v for n, v in found.items()
    }
    return {name: value for name, value in plain.items() if value is not None}
