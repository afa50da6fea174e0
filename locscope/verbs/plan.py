"""What a search will do, settled before the model is touched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from locscope.edits import EditSet
from locscope.edits.splits import Split, drawn_order, resample
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.measures import THOROUGH, measure_all
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress, Silent
from locscope.records import ModelInfo
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.scoring.objectives import Objective, refuse_unmeasurable
from locscope.settings import SearchSettings
from locscope.verbs.provenance import frozen_settings
from locscope.verbs.session import Session, halved, load_edits, open_model, open_session

ADDITIONS = frozenset({"thorough", "recipes", "audit"})
"""Settings that only add to a run, so that its folder can go on with another choice."""
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
    aim: Objective

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

    def first_of_s(self, count: int) -> tuple[str, ...]:
        """Ids of so many edits of S: the first in a drawn order of groups, in file order.

        More hold fewer, so that the rungs of a race are nested.
        """
        order = drawn_order(self.parts.chosen, self.parts.groups, self.settings.seed)
        ids = [edit.id for edit in self.edit_set.edits]
        return tuple(ids[i] for i in sorted(order[:count]))

    def groups_of(self, indices: Iterable[int]) -> tuple[tuple[str, ...], ...]:
        """Ids of those edits by group."""
        wanted, ids = set(indices), [edit.id for edit in self.edit_set.edits]
        found = (tuple(ids[i] for i in group if i in wanted) for group in self.parts.groups)
        return tuple(group for group in found if group)


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
    there = info.parts
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
    for location in settings.locations:
        slices(loaded.model, Location.parse(location))
    session = open_session(
        settings, loaded, halves.edit_set, progress or Silent(), prefixes=settings.prefixes
    )
    refuse_unmeasurable(settings.aim, _measurable(session, halves))
    frozen = frozen_settings(settings, loaded, halves.edit_set, session.material, ADDITIONS)
    return Plan(
        settings=settings,
        session=session,
        parts=halves.parts,
        subsets=halves.subsets,
        folder=output or default_name(settings.model, settings.edits, fingerprint(frozen)),
        frozen=frozen,
        aim=settings.aim,
    )


def _measurable(session: Session, halves: Halves) -> frozenset[str]:
    """Names of the measures that trials for choosing take, and that judge anything, of the edits
    that choose and of some of those that report."""
    ids = [edit.id for edit in session.edit_set.edits]
    on_s = _judged(session, [ids[i] for i in halves.parts.chosen])
    on_r = frozenset[str]().union(*(_judged(session, subset) for subset in halves.subsets))
    return on_s & on_r - THOROUGH


def _judged(session: Session, edits: Sequence[str]) -> frozenset[str]:
    before = session.before.of(edits)
    return frozenset(one.name for one in measure_all(before, before) if one.count)
