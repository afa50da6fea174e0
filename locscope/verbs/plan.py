"""What a search will do, settled before the model is touched; and what it says of itself after."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import locscope
from locscope.edits import EditSet
from locscope.edits.splits import Split, resample
from locscope.errors import UsageError
from locscope.models.load import Loaded
from locscope.progress import Progress, Silent
from locscope.records import ModelInfo, RunInfo, StageCost
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.settings import SearchSettings
from locscope.verbs.session import Session, halved, load_edits, open_model, open_session

MOST_OF_R = 0.8
"""A repetition tunes and measures no more of R than this, so that repetitions differ."""
WITHOUT_EFFECT = frozenset({"device", "device_memory", "host_memory"})
"""Settings that say where the work is done, not what it is."""


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
    frozen = {
        name: str(value)
        for name, value in settings.model_dump().items()
        if name not in WITHOUT_EFFECT
    }
    frozen |= {
        "dtype": loaded.info.dtype,
        "model_hash": loaded.info.hash,
        "edits_hash": halves.edit_set.fingerprint,
        "material_hash": fingerprint(session.material),
    }
    return Plan(
        settings=settings,
        session=session,
        parts=halves.parts,
        subsets=halves.subsets,
        folder=output or default_name(settings.model, settings.edits, fingerprint(frozen)),
        frozen=frozen,
    )


def run_info(
    plan: Plan, costs: Sequence[StageCost], command: str = "", started: str = ""
) -> RunInfo:
    """The record of the run as a whole."""
    return RunInfo(
        schema_number=1,
        verb="search",
        status="done",
        settings=plan.frozen,
        settings_hash=fingerprint(plan.frozen),
        seed=plan.settings.seed,
        versions=versions(),
        model=plan.loaded.info,
        edits=plan.edit_set.name,
        edits_hash=plan.edit_set.fingerprint,
        edit_count=len(plan.edit_set.edits),
        notes=plan.session.notes,
        stages=tuple(costs),
        command=command,
        started=started,
    )


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("torch", "transformers", "transformer-lens", "numpy")
    return {
        "locscope": locscope.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
