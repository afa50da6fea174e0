"""What a search will do, settled before the model is touched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from locscope.edits import EditSet, narrowed
from locscope.edits.enough import resolution_note, why_too_few
from locscope.edits.splits import Split, drawn_order, first_edits, halves, resample, shares_of
from locscope.errors import UsageError
from locscope.evaluation.measures import THOROUGH, measure_all
from locscope.locations import PAPER_PARTS, Location
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress, Silent
from locscope.records import ModelInfo, default_batch
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.scoring.objectives import Objective, refuse_unmeasurable
from locscope.settings import SearchSettings
from locscope.tuning.workspace import Workspace
from locscope.workflows.provenance import frozen_settings
from locscope.workflows.workspace import (
    first_step,
    load_edits,
    open_model,
    open_workspace,
    parted,
)

Subsets = tuple[tuple[str, ...], ...]
ADDITIONS = frozenset({"thorough", "recipes", "audit"})
"""Settings that only add to a run, so that its folder can go on with another choice."""
MOST_OF_T = 0.8
"""A repetition tunes and measures no more of T than this, so that repetitions differ."""

MOST_DEPLOYED = 1000
"""Edits that a recipe is fitted to unless more are asked for: trials on more are dear."""


@dataclass(frozen=True)
class Plan:
    """All that is settled before anything is tuned or written.

    `given` are the edits as they were read: those of `edit_set` may have lent neighbours.
    """

    settings: SearchSettings
    workspace: Workspace
    given: EditSet
    edit_set: EditSet
    parts: Split
    on_v: Subsets
    on_t: Subsets
    folder: Path
    frozen: dict[str, str]
    objective: Objective

    @property
    def loaded(self) -> Loaded:
        """The untouched model."""
        return self.workspace.loaded

    @property
    def chosen(self) -> tuple[str, ...]:
        """Ids of the edits in S."""
        return tuple(self.edit_set.edits[i].id for i in self.parts.select)

    @property
    def choosing(self) -> tuple[str, ...]:
        """Ids of the edits of S and V: all whose outcomes may choose."""
        return tuple(self.edit_set.edits[i].id for i in self.parts.choosing)

    @cached_property
    def to_learn(self) -> float:
        """Mean loss of S's edits before tuning, in nats per token of their targets."""
        return self.workspace.to_learn(self.chosen)

    @cached_property
    def first_step(self) -> float:
        """The loss change (nats) of the first step at a starting rate."""
        settings = self.settings
        batch = settings.batch_size or default_batch(len(self.chosen))
        wanted = settings.first_step
        return wanted or first_step(self.workspace, self.chosen, batch, settings.epochs)

    def first_of_s(self, count: int) -> tuple[str, ...]:
        """Ids of so many edits of S: the first in a drawn order of groups, in file order.

        More hold fewer, so that the rungs of a race are nested.
        """
        order = drawn_order(self.parts.select, self.parts.groups, self.settings.seed)
        ids = [edit.id for edit in self.edit_set.edits]
        return tuple(ids[i] for i in sorted(order[:count]))

    def groups_of(self, indices: Iterable[int]) -> tuple[tuple[str, ...], ...]:
        """Ids of those edits by group."""
        wanted, ids = set(indices), [edit.id for edit in self.edit_set.edits]
        found = (tuple(ids[i] for i in group if i in wanted) for group in self.parts.groups)
        return tuple(group for group in found if group)


@dataclass(frozen=True)
class Parted:
    """The edits as read and as used, their split into S, V and T, and the subsets of V and T that
    trials are made of (ids)."""

    given: EditSet
    edit_set: EditSet
    parts: Split
    on_v: Subsets
    on_t: Subsets


def split_edits(settings: SearchSettings, given: EditSet | None = None) -> Parted:
    """Reads the edits, unless they are `given`, and splits them; a UsageError where they do not
    allow it."""
    given = given or load_edits(settings)
    if reason := why_too_few(len(given.edits)):
        raise UsageError(reason)
    if note := resolution_note(len(given.edits), shares_of(settings.share)):
        given = narrowed(given, given.edits, note)
    edit_set, parts = parted(given, settings.share, settings.seed)
    _check_deployed(settings, given, parts)
    ids = [edit.id for edit in edit_set.edits]
    named = lambda subsets: tuple(tuple(ids[i] for i in one) for one in subsets)  # noqa: E731
    on_v = halves(parts.validate, parts.groups, settings.validations, settings.seed)
    return Parted(given, edit_set, parts, named(on_v), named(_subsets_of_t(parts, settings)))


def deployed_edits(given: EditSet, settings: SearchSettings) -> tuple[str, ...]:
    """Ids of the edits to be made, in file order: all, or so many in a drawn order of groups."""
    return first_edits(given.edits, settings.deploy or MOST_DEPLOYED, settings.seed)


def _check_deployed(settings: SearchSettings, given: EditSet, parts: Split) -> None:
    """A UsageError where nothing of S or V is among the edits to be made: recipes are judged by
    these alone."""
    if settings.deploy is None:
        return
    on_s_and_v = {given.edits[i].id for i in parts.choosing}
    if on_s_and_v.isdisjoint(deployed_edits(given, settings)):
        raise UsageError(
            f"--deploy {settings.deploy}: no recipe can be fitted to edits that are all reported "
            "on (T); deploy more, or choose another --seed"
        )


def _subsets_of_t(parts: Split, settings: SearchSettings) -> tuple[tuple[int, ...], ...]:
    if settings.repetitions == 1:
        return (parts.report,)
    # No more edits than on S where T has more: how many are tuned changes what a location can hold.
    size = min(MOST_OF_T, len(parts.select) / len(parts.report))
    return resample(parts.report, parts.groups, size, settings.repetitions, settings.seed)


def check_parts(settings: SearchSettings, info: ModelInfo) -> None:
    """A UsageError where a part to try is not in this model, or there is none to try."""
    there = info.parts
    if not settings.parts:
        raise UsageError(f"no parts to try: there are {', '.join(there)}")
    for part in settings.parts:
        # The default names parts that some families lack; the candidates are those that are there.
        if part not in there and settings.parts != PAPER_PARTS:
            raise UsageError(f"{info.family} has no part {part}: there are {', '.join(there)}")


def plan_search(
    settings: SearchSettings,
    output: Path | None,
    progress: Progress | None = None,
    loaded: Loaded | None = None,
) -> Plan:
    """Reads and checks everything and asks the untouched model; nothing is tuned or written.

    A model that is `loaded` already is not read again.
    """
    split, loaded = split_edits(settings), open_model(settings, loaded)
    check_parts(settings, loaded.info)
    for location in settings.locations:
        slices(loaded.model, Location.parse(location))
    workspace = open_workspace(
        settings, loaded, split.edit_set, progress or Silent(), prefixes=settings.prefixes
    )
    refuse_unmeasurable(settings.full_objective, _measurable(workspace, split))
    frozen = frozen_settings(settings, loaded, split.edit_set, workspace.eval_texts, ADDITIONS)
    return Plan(
        settings=settings,
        workspace=workspace,
        given=split.given,
        edit_set=split.edit_set,
        parts=split.parts,
        on_v=split.on_v,
        on_t=split.on_t,
        folder=output or default_name(settings.model, settings.edits, fingerprint(frozen)),
        frozen=frozen,
        objective=settings.full_objective,
    )


def _measurable(workspace: Workspace, split: Parted) -> frozenset[str]:
    """Names of the measures that trials for choosing take, and that judge anything, of the edits
    that choose and of some of those that report."""
    ids = [edit.id for edit in split.edit_set.edits]
    on_s = _judged(workspace, [ids[i] for i in split.parts.select])
    on_t = frozenset[str]().union(*(_judged(workspace, subset) for subset in split.on_t))
    return on_s & on_t - THOROUGH


def _judged(workspace: Workspace, edits: Sequence[str]) -> frozenset[str]:
    before = workspace.before.of(edits)
    return frozenset(one.name for one in measure_all(before, before) if one.count)
