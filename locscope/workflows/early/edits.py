"""Edits as a search uses them: conflicts settled, split into S, V and T, subsets drawn.

Nothing here needs a model or torch, so that what is wrong with edits is said at once.
"""

from dataclasses import dataclass

from locscope.edits import EditSet, narrowed, read_edits, settled
from locscope.edits.checks import lend_neighbours
from locscope.edits.enough import resolution_note, why_too_few
from locscope.edits.splits import Split, first_edits, halves, resample, shares_of, split
from locscope.errors import UsageError
from locscope.settings import SearchSettings, SharedSettings

Subsets = tuple[tuple[str, ...], ...]
MOST_OF_T = 0.8
"""A repetition tunes and measures no more of T than this, so that repetitions differ."""

MOST_DEPLOYED = 1000
"""Edits that a recipe is fitted to unless more are asked for: trials on more are dear."""


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
    named = lambda subsets: tuple(tuple(ids[i] for i in subset) for subset in subsets)  # noqa: E731
    on_v = _subsets_of_v(parts, settings)
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


def _subsets_of_v(parts: Split, settings: SearchSettings) -> tuple[tuple[int, ...], ...]:
    """V parted in as many subsets as are asked for, and parted once more by another drawing: for
    finalists that the first leave too close to tell."""
    drawings = (f"{settings.seed}", f"{settings.seed} again")
    parted_twice = (
        halves(parts.validate, parts.groups, settings.validations, drawing) for drawing in drawings
    )
    # Of few groups the same subsets may be drawn, which tell nothing new.
    return tuple(dict.fromkeys(subset for drawn in parted_twice for subset in drawn))


def _subsets_of_t(parts: Split, settings: SearchSettings) -> tuple[tuple[int, ...], ...]:
    if settings.repetitions == 1:
        return (parts.report,)
    # No more edits than on S where T has more: how many are tuned changes what a location can hold.
    size = min(MOST_OF_T, len(parts.select) / len(parts.report))
    return resample(parts.report, parts.groups, size, settings.repetitions, settings.seed)


def load_edits(settings: SharedSettings) -> EditSet:
    """The edits as they will be used: conflicts settled, neighbours that are edited left out."""
    found = read_edits(settings.edits, limit=settings.limit, seed=settings.seed)
    return settled(found, settings.conflicts)


def parted(edit_set: EditSet, share: float, seed: int) -> tuple[EditSet, Split]:
    """The edits split into S, V and T by groups.

    Where no edit has neighbours, the other parts lend each one their prompts: they are not tuned
    in its trials.
    """
    parts = split(edit_set.edits, share, seed)
    edits = list(edit_set.edits)
    for mine in (parts.select, parts.validate, parts.report):
        inside = set(mine)
        others = [edit for i, edit in enumerate(edit_set.edits) if i not in inside]
        lent = lend_neighbours([edit_set.edits[i] for i in mine], others)
        for i, edit in zip(mine, lent, strict=True):
            edits[i] = edit
    notes = (parts.note,) if parts.note else ()
    if not any(edit.neighbours for edit in edit_set.edits) and edits != list(edit_set.edits):
        notes = (*notes, "no neighbours given: prompts of edits not tuned in a trial serve")
    return narrowed(edit_set, edits, *notes), parts
