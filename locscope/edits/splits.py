"""Splitting edits into S, V and T so that nothing chosen on one part leaks into another.

Locations are selected on S, the finalists are validated on V, and T is what is reported on.

Edits that share a subject, a prompt, a neighbour's prompt or a multi-hop question form a group
(also where the prompt of one is a neighbour of another), and a group is never split.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.records import Edit

Groups = tuple[tuple[int, ...], ...]
DOMINATES = 0.3
"""A group with more than this share of the edits makes a split by groups useless: S and T have
about as many, so each would be that group or have nothing of it."""
PARTS = 3
"""S, V and T."""
VALIDATED = 4 / 7
"""Share of the edits outside S that V has: with 30 % on S, 40 % validate and 30 % report."""
EXACT = 2048
"""How many groups are fitted exactly to the size wanted; those before them are taken in turn."""


@dataclass(frozen=True)
class Split:
    """Indices of the edits of S, V and T, each in file order, and the groups that were kept whole.

    `note` is for readers of the results; mostly it is empty.
    """

    select: tuple[int, ...]
    validate: tuple[int, ...]
    report: tuple[int, ...]
    groups: Groups
    note: str = ""

    @property
    def choosing(self) -> tuple[int, ...]:
        """S and V together, in file order: all edits that a choice may depend on."""
        return tuple(sorted((*self.select, *self.validate)))


def shares_of(share: float) -> tuple[float, float, float]:
    """Shares of S, V and T where S has that share of the edits."""
    return share, (1 - share) * VALIDATED, (1 - share) * (1 - VALIDATED)


def groups(edits: Sequence[Edit], *, neighbours: bool = True) -> Groups:
    """Indices of edits by group, in file order; `neighbours`: those who share one are joined."""
    parent = list(range(len(edits)))
    first: dict[tuple[str, str], int] = {}
    for index, edit in enumerate(edits):
        for name in _names(edit, neighbours):
            _join(parent, first.setdefault(name, index), index)
    members: dict[int, list[int]] = {}
    for index in range(len(edits)):
        members.setdefault(_root(parent, index), []).append(index)
    return tuple(map(tuple, members.values()))


def split(edits: Sequence[Edit], share: float, seed: int) -> Split:
    """Draws S, V and T of whole groups: S has about that share, V has 4 of 7 parts of the rest.

    Sizes are as near to that as whole groups allow. Where one group has more edits than S (all have
    the same few neighbours, say), shared neighbours are ignored and the note says so. Raises
    UsageError where the share is not between 0 and 1, or there are fewer than three groups.
    """
    _check_share(share)
    whole, note = _useful_groups(edits)
    if len(whole) < PARTS:
        raise UsageError(
            f"cannot split {len(edits)} edits in three (to select on, to validate on, to report "
            f"on): they form {len(whole)} group{'s' * (len(whole) != 1)} of shared subjects or "
            "prompts; add edits on other subjects, or correct the 'subject' fields"
        )
    rng = random.Random(seed)
    selected = _fitting(whole, share * len(edits), rng, spare=PARTS - 1)
    rest = [g for g in range(len(whole)) if g not in selected]
    left = sum(len(whole[g]) for g in rest)
    validated = {rest[p] for p in _fitting([whole[g] for g in rest], VALIDATED * left, rng)}
    return Split(
        select=_members(whole, selected),
        validate=_members(whole, validated),
        report=_members(whole, set(rest) - validated),
        groups=whole,
        note=note,
    )


def halves(
    indices: Iterable[int], groups: Groups, count: int, seed: int | str
) -> tuple[tuple[int, ...], ...]:
    """The indices in `count` disjoint subsets of whole groups, about equally large.

    There are fewer subsets where there are fewer groups.
    """
    wanted = set(indices)
    inside = [tuple(i for i in group if i in wanted) for group in groups]
    inside = [group for group in inside if group]
    random.Random(f"subsets {seed}").shuffle(inside)
    subsets: list[list[int]] = [[] for _ in range(min(count, len(inside)))]
    # Largest first, each to the smallest subset: that keeps the sizes close.
    for group in sorted(inside, key=len, reverse=True):
        min(subsets, key=len).extend(group)
    return tuple(tuple(sorted(subset)) for subset in subsets)


def _members(groups: Groups, taken: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(i for g in taken for i in groups[g]))


def resample(
    indices: Iterable[int], groups: Groups, share: float, count: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """`count` different subsets of the indices, of whole groups, each of about that share.

    Raises UsageError where the share is not between 0 and 1, or where the groups do not allow so
    many different subsets.
    """
    _check_share(share)
    wanted = set(indices)
    inside = [tuple(i for i in group if i in wanted) for group in groups]
    inside = [group for group in inside if group]
    rng, subsets = random.Random(seed), dict[tuple[int, ...], None]()
    tries = 20 * count
    # Few groups allow few subsets of exactly that size; then sizes one and two off are tried.
    for attempt in range(3 * tries if len(inside) > 1 else 0):
        if len(subsets) == count:
            break
        slack = attempt // tries
        target = share * len(wanted) + rng.randint(-slack, slack)
        taken = _fitting(inside, target, rng)
        subsets[tuple(sorted(i for g in taken for i in inside[g]))] = None
    if len(subsets) < count:
        raise UsageError(
            f"{len(wanted)} edits in {len(inside)} groups give only {len(subsets)} different "
            f"subsets, not {count}: use more edits on different subjects, or fewer repetitions"
        )
    return tuple(subsets)


def drawn_order(indices: Iterable[int], groups: Groups, seed: int) -> tuple[int, ...]:
    """The indices in a drawn order that keeps those of a group together."""
    wanted = set(indices)
    inside = [[i for i in group if i in wanted] for group in groups]
    random.Random(f"order of edits {seed}").shuffle(inside)
    return tuple(i for group in inside for i in group)


def first_edits(edits: Sequence[Edit], count: int, seed: int) -> tuple[str, ...]:
    """Ids, in file order, of the first `count` edits in a drawn order of groups; of all edits, if
    there are no more."""
    order: Sequence[int] = range(len(edits))
    if count < len(edits):
        order = drawn_order(order, groups(edits), seed)[:count]
    return tuple(edits[i].id for i in sorted(order))


def _names(edit: Edit, neighbours: bool) -> Iterable[tuple[str, str]]:
    # Subjects are apart from prompts: a subject that reads like a prompt is no shared text.
    if edit.subject:
        yield "subject", key(edit.subject)
    yield "prompt", key(edit.prompt)
    if neighbours:
        for neighbour in edit.neighbours:
            yield "prompt", key(neighbour.prompt)
        # A question that two edits have needs both: its answer is none where one is not tuned.
        for question in edit.multihop:
            yield "question", key(question.prompt)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    # The lower index is the root: groups are then in file order.
    parent[max(a, b)] = min(a, b)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"cannot split by a share of {share}: give one between 0 and 1")


def _useful_groups(edits: Sequence[Edit]) -> tuple[Groups, str]:
    """The groups, those without shared neighbours where one group would have more than S."""
    strict = groups(edits)
    largest = max(map(len, strict), default=0)
    if largest <= DOMINATES * len(edits):
        return strict, ""
    loose = groups(edits, neighbours=False)
    most = max(map(len, loose), default=0)
    note = f"{largest} of {len(edits)} edits are linked by shared subjects, prompts or neighbours"
    # Also where the largest stays as it is, but without its neighbours there are enough of them.
    if most < largest or len(strict) < PARTS <= len(loose):
        strict = loose
        note += "; they were split by subject and prompt only, neighbours may be on both sides"
    if most > DOMINATES * len(edits):
        note += (
            f"; {most} of them share a subject or prompt, so parts are not as large as asked for"
        )
    return strict, note


def _fitting(
    groups: Sequence[Sequence[int]], target: float, rng: random.Random, spare: int = 1
) -> set[int]:
    """Positions of groups chosen at random whose sizes sum as near to the target as they can.

    At least one group is taken and at least `spare` are not.
    """
    order = list(range(len(groups)))
    rng.shuffle(order)
    head, tail = order[:-EXACT], order[-EXACT:]
    taken, total = set[int](), 0
    head_share = sum(len(groups[g]) for g in head) * target / sum(map(len, groups))
    for g in head:
        if total + len(groups[g]) <= head_share:
            taken.add(g)
            total += len(groups[g])
    picked = _nearest([len(groups[g]) for g in tail], target - total, proper=not head)
    fitting = taken | {tail[p] for p in picked}
    # Few large groups may fit the target best with too few left over: the last taken stay behind.
    while len(fitting) > 1 and len(groups) - len(fitting) < spare:
        fitting.remove(min(fitting, key=lambda g: len(groups[g])))
    return fitting


def _nearest(sizes: Sequence[int], target: float, proper: bool) -> list[int]:
    """Positions whose sizes sum nearest to the target; bit s of reach[p]: the first p can give s.

    `proper` forbids taking none and all.
    """
    reach = [1]
    for size in sizes:
        reach.append(reach[-1] | reach[-1] << size)
    # Its digits from the last on: shifting so long a number for each sum would be quadratic.
    sums = [s for s, digit in enumerate(reversed(f"{reach[-1]:b}")) if digit == "1"]
    if proper:
        sums = [s for s in sums if 0 < s < sum(sizes)]
    rest = min(sums, key=lambda s: abs(s - target))
    picked = []
    for position in range(len(sizes) - 1, -1, -1):
        if not reach[position] >> rest & 1:
            picked.append(position)
            rest -= sizes[position]
    return picked
