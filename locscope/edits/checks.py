"""What a set of edits needs before tuning: one target per prompt, neighbours that are not edited.

Nothing is changed in place: every function returns new edits and says what it left out.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.records import Edit, Probe

Policy = Literal["last", "drop"]
SHOWN = 3
"""How many conflicts an error lists."""


@dataclass(frozen=True)
class Checked:
    """Edits that passed a check, and sentences on what it left out (none where it was nothing)."""

    edits: tuple[Edit, ...]
    notes: tuple[str, ...]


def find_conflicts(edits: Sequence[Edit]) -> tuple[tuple[Edit, ...], ...]:
    """The edits of each prompt that occurs with different targets, in file order.

    Prompts and targets are compared without case and spacing.
    """
    same_prompt = _by_prompt(edits).values()
    return tuple(tuple(same) for same in same_prompt if len({key(e.target) for e in same}) > 1)


def resolve_conflicts(edits: Sequence[Edit], policy: Policy | None) -> Checked:
    """Edits with one target per prompt, in file order; equal edits are merged into the first.

    Of conflicting edits `last` keeps the last and `drop` none. Raises UsageError for conflicts
    without a policy, of which it lists three, for an unknown policy, and where no edit is left.
    """
    if policy not in (None, "last", "drop"):
        raise UsageError(f"unknown policy for conflicts '{policy}': there are last, drop")
    conflicts = find_conflicts(edits)
    if conflicts and policy is None:
        raise UsageError(_refusal(conflicts))
    last = {same[-1].id for same in conflicts if policy == "last"}
    dropped = {edit.id for same in conflicts for edit in same} - last
    settled, unanswerable = _without_questions_of(dropped, edits)
    merged = tuple(_merged(same) for same in _by_prompt(settled).values())
    if not merged:
        raise UsageError("no edits are left when those with conflicting targets are dropped")
    notes = []
    if dropped:
        left_out = f"{len(dropped)} (prompts: {len(conflicts)})"
        notes.append(f"edits left out for conflicting targets: {left_out}")
    if unanswerable:
        notes.append(f"multi-hop questions left out, which need an edit left out: {unanswerable}")
    if repeats := len(settled) - len(merged):
        notes.append(f"edits merged with one of equal prompt and target: {repeats}")
    return Checked(merged, tuple(notes))


def drop_edited_neighbours(edits: Sequence[Edit]) -> Checked:
    """Leaves out neighbours whose prompt is a prompt or rephrase edited in the same run.

    Their answer is meant to change, or may, so they cannot show what must not change.
    """
    edited = _edited(edits)
    trimmed = tuple(
        replace(e, neighbours=tuple(n for n in e.neighbours if key(n.prompt) not in edited))
        for e in edits
    )
    # A neighbour counts once for every edit that has it.
    left_out = sum(len(e.neighbours) for e in edits) - sum(len(e.neighbours) for e in trimmed)
    return Checked(
        trimmed, (f"neighbours left out, edited themselves: {left_out}",) if left_out else ()
    )


def lend_neighbours(
    tuned: Sequence[Edit], others: Sequence[Edit], *, per_edit: int = 2, seed: int = 0
) -> tuple[Edit, ...]:
    """The tuned edits with prompts of `others`, which are not tuned, as neighbours.

    Where any tuned edit has neighbours of its own, or no other edit can lend one, they are returned
    as they are. Every edit gets `per_edit` different ones (fewer where fewer exist), each lent
    about equally often, with the old answer as its answer. Two edits have all of theirs in common
    or none: overlaps would make one group of all edits, whose measures would have no interval.
    """
    if any(edit.neighbours for edit in tuned):
        return tuple(tuned)
    edited = _edited(tuned)
    pool = {key(o.prompt): Probe(o.prompt, o.old) for o in others if key(o.prompt) not in edited}
    lent = list(pool.values())
    random.Random(seed).shuffle(lent)
    count = min(per_edit, len(lent))
    if not count:
        return tuple(tuned)
    # Only whole blocks: the last prompts, fewer than a block, are not lent.
    starts = range(0, len(lent) - count + 1, count)
    blocks = [tuple(lent[start : start + count]) for start in starts]
    return tuple(replace(edit, neighbours=blocks[i % len(blocks)]) for i, edit in enumerate(tuned))


def _without_questions_of(
    dropped: Collection[str], edits: Sequence[Edit]
) -> tuple[list[Edit], int]:
    """The edits that are not dropped, without the questions that those have too, and how many
    questions that are: one that several edits have needs all of them."""
    lost = {question for edit in edits if edit.id in dropped for question in edit.multihop}
    kept = [edit for edit in edits if edit.id not in dropped]
    left = [replace(e, multihop=tuple(m for m in e.multihop if m not in lost)) for e in kept]
    return left, sum(len(e.multihop) for e in kept) - sum(len(e.multihop) for e in left)


def _by_prompt(edits: Sequence[Edit]) -> dict[str, list[Edit]]:
    same: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        same[key(edit.prompt)].append(edit)
    return same


def _edited(edits: Sequence[Edit]) -> set[str]:
    return {key(text) for edit in edits for text in (edit.prompt, *edit.rephrases)}


def _merged(same: Sequence[Edit]) -> Edit:
    """One edit of several with equal prompt and target, with the probes of all, each once."""
    first = same[0]
    if len(same) == 1:
        return first
    return replace(
        first,
        subject=next((e.subject for e in same if e.subject), ""),
        old=next((e.old for e in same if e.old), ""),
        rephrases=tuple(dict.fromkeys(r for e in same for r in e.rephrases)),
        neighbours=tuple(dict.fromkeys(n for e in same for n in e.neighbours)),
        forms=tuple(dict.fromkeys(f for e in same for f in e.forms)),
        multihop=tuple(dict.fromkeys(m for e in same for m in e.multihop)),
    )


def _refusal(conflicts: Sequence[Sequence[Edit]]) -> str:
    shown = "; ".join(map(_in_words, conflicts[:SHOWN]))
    more = f"; and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
    return (
        f"conflicting targets (prompts: {len(conflicts)}): {shown}{more}; correct the file, or "
        "choose --conflicts last (keep the last) or --conflicts drop (keep none)"
    )


def _in_words(conflict: Sequence[Edit]) -> str:
    """A prompt, its targets as they are first written, and the ids of the edits."""
    targets: dict[str, str] = {}
    for edit in conflict:
        targets.setdefault(key(edit.target), edit.target)
    ids = ", ".join(edit.id for edit in conflict)
    return f"'{conflict[0].prompt}' -> {' or '.join(targets.values())} (edits {ids})"
