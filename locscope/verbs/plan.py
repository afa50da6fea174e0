"""What a search will do, settled before the model is touched; and what it says of itself after."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import locscope
from locscope.edits import EditSet
from locscope.edits.splits import Split, resample
from locscope.models.load import Loaded
from locscope.records import RunInfo, StageCost
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.settings import SearchSettings
from locscope.verbs.session import halved, load_edits, open_model

MOST_OF_R = 0.8
"""A repetition tunes and measures no more of R than this, so that repetitions differ."""
WITHOUT_EFFECT = frozenset({"device", "device_memory", "host_memory"})
"""Settings that say where the work is done, not what it is."""


@dataclass(frozen=True)
class Plan:
    """All that is settled before the model is touched."""

    settings: SearchSettings
    loaded: Loaded
    edit_set: EditSet
    parts: Split
    subsets: tuple[tuple[str, ...], ...]
    folder: Path
    frozen: dict[str, str]

    @property
    def chosen(self) -> tuple[str, ...]:
        """Ids of the edits in S."""
        return tuple(self.edit_set.edits[i].id for i in self.parts.chosen)


def plan_search(settings: SearchSettings, output: Path | None) -> Plan:
    """Reads and checks everything; nothing is written and nothing tuned."""
    loaded = open_model(settings)
    edit_set, parts = halved(load_edits(settings), settings.share, settings.seed)
    # As many edits as on S where R has them: how many are tuned changes what a place can hold.
    size = min(MOST_OF_R, len(parts.chosen) / len(parts.held))
    subsets = resample(parts.held, parts.groups, size, settings.repetitions, settings.seed)
    frozen = {
        name: str(value)
        for name, value in settings.model_dump().items()
        if name not in WITHOUT_EFFECT
    }
    frozen |= {"model_hash": loaded.info.hash, "edits_hash": edit_set.fingerprint}
    return Plan(
        settings=settings,
        loaded=loaded,
        edit_set=edit_set,
        parts=parts,
        subsets=tuple(tuple(edit_set.edits[i].id for i in subset) for subset in subsets),
        folder=output or default_name(settings.model, settings.edits, fingerprint(frozen)),
        frozen=frozen,
    )


def run_info(
    plan: Plan, notes: Sequence[str], costs: Sequence[StageCost], command: str, started: str
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
        notes=tuple(notes),
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
