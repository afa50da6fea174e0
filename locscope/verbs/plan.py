"""What a search will do, settled before the model is touched."""

from dataclasses import dataclass
from pathlib import Path

from locscope.edits import EditSet
from locscope.edits.splits import Split, resample
from locscope.errors import UsageError
from locscope.models.load import Loaded
from locscope.progress import Progress, Silent
from locscope.records import ModelInfo
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.settings import SearchSettings
from locscope.verbs.provenance import frozen_settings
from locscope.verbs.session import Session, halved, load_edits, open_model, open_session

MOST_OF_R = 0.8
"""A repetition tunes and measures no more of R than this, so that repetitions differ."""


@dataclass(frozen=True)
class Plan:
    """All that is settled before anything is tuned or written."""

    settings: SearchSettings
    session: Session
    parts: Split
    subsets: tuple[tuple[str, ...], ...]
    folder: Path
    frozen: dict[str, str]

    @property
    def loaded(self) -> Loaded:
        """The untouched model."""
        return self.session.loaded

    @property
    def edit_set(self) -> EditSet:
        """The edits as used."""
        return self.session.edit_set

    @property
    def chosen(self) -> tuple[str, ...]:
        """Ids of the edits in S."""
        return tuple(self.edit_set.edits[i].id for i in self.parts.chosen)


@dataclass(frozen=True)
class Halves:
    """The edits with their split into S and R, and the subsets of R for the repetitions (ids)."""

    edit_set: EditSet
    parts: Split
    subsets: tuple[tuple[str, ...], ...]


def split_edits(settings: SearchSettings) -> Halves:
    """Reads the edits and splits them; a UsageError where they do not allow it."""
    edit_set, parts = halved(load_edits(settings), settings.share, settings.seed)
    # As many edits as on S where R has them: how many are tuned changes what a place can hold.
    size = min(MOST_OF_R, len(parts.chosen) / len(parts.held))
    subsets = resample(parts.held, parts.groups, size, settings.repetitions, settings.seed)
    ids = [edit.id for edit in edit_set.edits]
    return Halves(edit_set, parts, tuple(tuple(ids[i] for i in subset) for subset in subsets))


def check_parts(settings: SearchSettings, info: ModelInfo) -> None:
    """A UsageError where a part to try is not in this model, or there is none to try."""
    there = dict.fromkeys(one.part for one in info.grid)
    if not settings.parts:
        raise UsageError(f"no parts to try: there are {', '.join(there)}")
    for part in settings.parts:
        if part not in there:
            raise UsageError(f"{info.family} has no part {part}: there are {', '.join(there)}")


def plan_search(
    settings: SearchSettings, output: Path | None, progress: Progress | None = None
) -> Plan:
    """Reads and checks everything and asks the untouched model; nothing is tuned or written."""
    halves, loaded = split_edits(settings), open_model(settings)
    check_parts(settings, loaded.info)
    session = open_session(
        settings, loaded, halves.edit_set, progress or Silent(), prefixes=settings.prefixes
    )
    frozen = frozen_settings(settings, loaded, halves.edit_set, session.material)
    return Plan(
        settings=settings,
        session=session,
        parts=halves.parts,
        subsets=halves.subsets,
        folder=output or default_name(settings.model, settings.edits, fingerprint(frozen)),
        frozen=frozen,
    )
