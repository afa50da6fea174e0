"""What commands refuse at once: options, paths and edits that cannot be used.

Torch takes seconds to import and a model minutes to load; whoever mistyped a path shall not wait
for either. All of it is checked again where it is used, as Python's API comes in there; edits that
were read and split are handed on.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from locscope.edits import EditSet, read_edits
from locscope.edits.sources import on_hub
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.aliases import resolve
from locscope.models.checkpoint import read_checkpoint
from locscope.models.hub import locate
from locscope.models.structure.names import check_device, check_dtype, require, shape_of
from locscope.runs.files import explained
from locscope.runs.folder import check_ours
from locscope.runs.new_folder import DELTA, check_new, check_new_file, check_writable
from locscope.runs.note import read_note
from locscope.runs.reading import read_json, read_text
from locscope.settings import EditSettings, EvaluateSettings, ScanSettings, SearchSettings
from locscope.settings.base import SharedSettings
from locscope.workflows.early.edits import Parted, load_edits, split_edits
from locscope.workflows.early.wanted import wanted_edit


def before_search(
    settings: SearchSettings, output: Path | None, save: Path | None = None
) -> Parted | None:
    """Raises UsageError for what a search could not use; the model's weights stay unread.

    Returns the edits as they were read and split; None for those of the hub, which come later.
    """
    _before(settings)
    _check_run_folder(output)
    if save is not None:
        check_new(save)
    split = None if on_hub(settings.edits) else split_edits(settings)
    _check_places(settings, map(Location.parse, settings.locations))
    return split


def before_scan(settings: ScanSettings, output: Path | None) -> None:
    """The same for a scan."""
    _before(settings)
    _check_run_folder(output)
    if not on_hub(settings.edits):
        load_edits(settings)
    _check_places(settings)


def before_edit(
    settings: EditSettings,
    config: Path | None,
    output: Path | None,
    *,
    adapter: Path | None = None,
    delta: Path | None = None,
) -> None:
    """The same for an edit, with the recommendation that it goes by, if it does."""
    _before(settings)
    if output is not None:
        check_new(output)
    if delta is not None:
        check_new_file(delta, DELTA)
    _check_apart([path for path in (output, delta, adapter) if path is not None])
    wanted = wanted_edit(settings, config)
    if adapter is not None:
        _check_adapter(adapter, wanted.recipe.kind)
    named = "edits" in settings.model_fields_set or config is None
    edits = settings.edits if named else str(wanted.data.get("edits", "demo"))
    if not on_hub(edits):
        load_edits(settings.model_copy(update=_of_file(settings, wanted.data, edits)))
    _check_places(settings.model_copy(update={"model": wanted.model}), [wanted.location])


def before_evaluate(settings: EvaluateSettings) -> None:
    """The same for a model that is measured; of one that was edited its own edits are read."""
    _before(settings)
    source = resolve(settings.model)
    if settings.base is not None:
        resolve(settings.base)
    edited = isinstance(source, Path) and read_note(source) is not None
    if not on_hub(settings.edits) and ("edits" in settings.model_fields_set or not edited):
        read_edits(settings.edits, limit=settings.limit, seed=settings.seed)
    _check_places(settings)


def before_check(settings: SearchSettings) -> EditSet | None:
    """The same for a check: conflicts and counts of edits are what it is asked about."""
    _before(settings)
    found = None
    if not on_hub(settings.edits):
        found = read_edits(settings.edits, limit=settings.limit, seed=settings.seed)
    _check_places(settings, map(Location.parse, settings.locations))
    return found


def _before(settings: SharedSettings) -> None:
    """Names and files that settings of all verbs have."""
    check_device(settings.device)
    check_dtype(settings.dtype)
    resolve(settings.model)
    if settings.neutral is not None:
        read_text(settings.neutral.expanduser(), "neutral text")
    if settings.abilities is not None:
        read_json(settings.abilities.expanduser(), "abilities")


def _check_apart(paths: Sequence[Path]) -> None:
    """A UsageError where one of the outputs would lie in another, which then could not be read."""
    real = [Path(os.path.realpath(path)) for path in paths]
    for index, one in enumerate(real):
        for other in real[index + 1 :]:
            if one == other or one in other.parents or other in one.parents:
                raise UsageError(
                    f"{one} and {other}: give --output, --delta and --adapter places of their own"
                )


def _check_adapter(folder: Path, recipe: str) -> None:
    """A UsageError where no adapter can be written: another recipe, or the folder is taken."""
    if recipe != "lora":
        raise UsageError(f"--adapter needs low-rank factors: give --recipe lora, not {recipe}")
    check_new(folder)


def _of_file(
    settings: EditSettings, recorded: Mapping[str, object], edits: str
) -> dict[str, object]:
    """What a recommendation says of conflicts and limit, where the settings say nothing."""
    wanted = {name: recorded[name] for name in ("conflicts", "limit") if name in recorded}
    mine = {name: value for name, value in wanted.items() if name not in settings.model_fields_set}
    return {**mine, "edits": edits}


def _check_run_folder(output: Path | None) -> None:
    """A UsageError where a run folder cannot be made there, or is something else."""
    if output is None:
        return
    check_ours(output)
    with explained(f"write {output}"):
        above = next(path for path in (output, *output.absolute().parents) if path.exists())
    check_writable(output, above)


def _check_places(settings: SharedSettings, locations: Iterable[Location] = ()) -> None:
    """Raises UsageError where the model's folder, or a layer or head in it, cannot be used."""
    source = resolve(settings.model)
    # A single file is read whole to tell what is in it.
    if isinstance(source, Path) and source.is_file():
        return
    shape = shape_of(read_checkpoint(locate(source)).config)
    for site in (site for location in locations for site in location.sites):
        if shape is not None:
            require(site, shape)
