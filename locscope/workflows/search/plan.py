"""What a search will do, settled before the model is touched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from locscope.edits import EditSet
from locscope.edits.splits import Split, drawn_order
from locscope.errors import UsageError
from locscope.evaluation.measures import THOROUGH
from locscope.evaluation.measuring import measure_all
from locscope.locations import PAPER_PARTS, Location
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress, Silent
from locscope.records import ModelInfo, default_batch
from locscope.records.codec import fingerprint
from locscope.runs.folder import default_name
from locscope.scoring.objectives import Objective, refuse_unmeasurable
from locscope.settings import SearchSettings
from locscope.tuning.workspace import Workspace, trial_threads
from locscope.workflows.early.edits import Parted, Subsets, split_edits
from locscope.workflows.provenance import frozen_settings
from locscope.workflows.workspace import first_step, open_model, open_workspace

ADDITIONS = frozenset({"thorough", "curve_to", "recipes", "audit"})
"""Settings that only add to a run, so that its folder can go on with another choice."""


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
        # In file order again: which edits are taken is drawn, and nothing else.
        return tuple(ids[i] for i in sorted(order[:count]))

    def groups_of(self, indices: Iterable[int]) -> tuple[tuple[str, ...], ...]:
        """Ids of those edits by group."""
        wanted, ids = set(indices), [edit.id for edit in self.edit_set.edits]
        found = (tuple(ids[i] for i in group if i in wanted) for group in self.parts.groups)
        return tuple(group for group in found if group)


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
    split: Parted | None = None,
) -> Plan:
    """Reads and checks everything and asks the untouched model; nothing is tuned or written.

    A model that is `loaded` already is not read again, nor are edits that were `split`.
    """
    split, loaded = split or split_edits(settings), open_model(settings, loaded)
    check_parts(settings, loaded.info)
    for location in settings.locations:
        slices(loaded.model, Location.parse(location))
    with trial_threads(loaded.model.device, alone=True):
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
    # On both: what cannot be chosen by, or not be reported, bounds nothing.
    on_s = _judged(workspace, [ids[i] for i in split.parts.select])
    on_t = frozenset[str]().union(*(_judged(workspace, subset) for subset in split.on_t))
    return on_s & on_t - THOROUGH


def _judged(workspace: Workspace, edits: Sequence[str]) -> frozenset[str]:
    before = workspace.before.of(edits)
    return frozenset(measure.name for measure in measure_all(before, before) if measure.count)
