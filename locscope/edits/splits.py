"""Splitting edits so that nothing chosen on one side leaks into what is reported on the other.

Edits that share a subject, a prompt or a neighbour's prompt form a group (also where the prompt of
one is a neighbour of another), and a group is never split.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.records import Edit

Groups = tuple[tuple[int, ...], ...]
DOMINATES = 0.6
"""A group with more than this share of the edits makes a split by groups useless."""
EXACT = 2048
"""How many groups are fitted exactly to the size wanted; those before them are taken in turn."""


@dataclass(frozen=True)
class Split:
    """Indices of the edits chosen and held back, in file order, and the groups it went by.

    `note` says what a reader should know of the split; mostly it is empty.
    """

    chosen: tuple[int, ...]
    held: tuple[int, ...]
    groups: Groups
    note: str = ""


def groups(edits: Sequence[Edit], *, neighbours: bool = True) -> Groups:
    """Indices of edits by group, in file order; `neighbours` says whether sharing those joins."""
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
    """Chooses groups with about `share` of the edits at random, the others are held back.

    The sizes are as near to the share as whole groups allow. Where one group has most of the
    edits (a few neighbours given to all, say), shared neighbours are ignored and the note says
    so. A UsageError where fewer than two groups are left.
    """
    _check_share(share)
    found, note = _useful_groups(edits)
    if len(found) < 2:
        raise UsageError(
            f"cannot split {len(edits)} edits: they all share a subject or prompt, directly or in "
            "a chain; add edits on other subjects, or correct the 'subject' fields"
        )
    taken = _fitting(found, share * len(edits), random.Random(seed))
    chosen = tuple(sorted(i for g in taken for i in found[g]))
    held = tuple(sorted(i for g, group in enumerate(found) if g not in taken for i in group))
    return Split(chosen, held, found, note)


def resample(
    indices: Iterable[int], groups: Groups, share: float, count: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """`count` different subsets of the indices, of whole groups, each of about that share.

    A UsageError where the groups do not allow so many different ones.
    """
    _check_share(share)
    wanted = set(indices)
    inside = [tuple(i for i in group if i in wanted) for group in groups]
    inside = [group for group in inside if group]
    rng, found = random.Random(seed), dict[tuple[int, ...], None]()
    tries = 20 * count
    # Few groups allow few subsets of exactly that size; then sizes one and two off are tried.
    for attempt in range(3 * tries if len(inside) > 1 else 0):
        if len(found) == count:
            break
        slack = attempt // tries
        target = share * len(wanted) + rng.randint(-slack, slack)
        taken = _fitting(inside, target, rng)
        found[tuple(sorted(i for g in taken for i in inside[g]))] = None
    if len(found) < count:
        raise UsageError(
            f"{len(wanted)} edits in {len(inside)} groups give only {len(found)} different "
            f"subsets, not {count}: use more edits on different subjects, or fewer repetitions"
        )
    return tuple(found)


def drawn_order(indices: Iterable[int], groups: Groups, seed: int) -> tuple[int, ...]:
    """The indices in a drawn order in which those of a group stand together."""
    wanted = set(indices)
    inside = [[i for i in group if i in wanted] for group in groups]
    random.Random(f"order of edits {seed}").shuffle(inside)
    return tuple(i for group in inside for i in group)


def _names(edit: Edit, neighbours: bool) -> Iterable[tuple[str, str]]:
    # Subjects are apart from prompts: a subject that reads like a prompt is no shared text.
    if edit.subject:
        yield "subject", key(edit.subject)
    yield "prompt", key(edit.prompt)
    if neighbours:
        for neighbour in edit.neighbours:
            yield "prompt", key(neighbour.prompt)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[max(one, other)] = min(one, other)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"cannot split by a share of {share}: give one between 0 and 1")


def _useful_groups(edits: Sequence[Edit]) -> tuple[Groups, str]:
    """The groups, those without shared neighbours where one group would have most edits."""
    strict = groups(edits)
    largest = max(map(len, strict), default=0)
    if largest <= DOMINATES * len(edits):
        return strict, ""
    loose = groups(edits, neighbours=False)
    most = max(map(len, loose), default=0)
    note = f"{largest} of {len(edits)} edits are linked by shared subjects, prompts or neighbours"
    if most < largest:
        strict = loose
        note += "; they were split by subject and prompt only, neighbours may be on both sides"
    if most > DOMINATES * len(edits):
        note += f"; {most} of them share a subject or prompt, so one side is much the larger"
    return strict, note


def _fitting(groups: Sequence[Sequence[int]], target: float, rng: random.Random) -> set[int]:
    """Positions of groups chosen at random whose sizes sum as near to the target as they can.

    At least one group is taken and at least one is not.
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
    return taken | {tail[p] for p in picked}


def _nearest(sizes: Sequence[int], target: float, proper: bool) -> list[int]:
    """Positions whose sizes sum nearest to the target; bit s of reach[p]: the first p can give s.

    `proper` forbids taking none and all.
    """
    reach = [1]
    for size in sizes:
        reach.append(reach[-1] | reach[-1] << size)
    sums = [s for s in range(sum(sizes) + 1) if reach[-1] >> s & 1]
    if proper:
        sums = [s for s in sums if 0 < s < sum(sizes)]
    rest = min(sums, key=lambda s: abs(s - target))
    picked = []
    for position in range(len(sizes) - 1, -1, -1):
        if not reach[position] >> rest & 1:
            picked.append(position)
            rest -= sizes[position]
    return picked
