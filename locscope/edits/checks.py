"""What a set of edits needs before tuning: one target per prompt, neighbours that are not edited.

Nothing is changed in place: functions return new edits, and others say what these left out.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.records import Edit, Probe

Policy = Literal["last", "drop"]
SHOWN = 3
"""How many conflicts an error lists."""


def find_conflicts(edits: Sequence[Edit]) -> tuple[tuple[Edit, ...], ...]:
    """The edits of each prompt that occurs with different targets, in file order.

    Prompts and targets are compared without case and spacing.
    """
    same_prompt = _by_prompt(edits).values()
    return tuple(tuple(same) for same in same_prompt if len({key(e.target) for e in same}) > 1)


def resolve_conflicts(edits: Sequence[Edit], policy: Policy | None) -> tuple[Edit, ...]:
    """Edits with one target per prompt, in file order; equal edits are merged into the first.

    Of conflicting edits `last` keeps the last and `drop` none. Raises UsageError for conflicts
    without a policy, of which it lists three, for an unknown policy, and where no edit is left.
    """
    if policy not in (None, "last", "drop"):
        raise UsageError(f"unknown policy for conflicts '{policy}': there are last, drop")
    conflicts = find_conflicts(edits)
    if conflicts and policy is None:
        raise UsageError(_refusal(conflicts))
    kept = _without_questions_of(_dropped(conflicts, policy), edits)
    merged = tuple(_merged(same) for same in _by_prompt(kept).values())
    if not merged:
        raise UsageError("no edits are left when those with conflicting targets are dropped")
    return merged


def notes_on_conflicts(edits: Sequence[Edit], policy: Policy | None) -> tuple[str, ...]:
    """Sentences on what `resolve_conflicts` leaves out of these edits; none where it is nothing."""
    conflicts = find_conflicts(edits)
    dropped = _dropped(conflicts, policy)
    kept, notes = _without_questions_of(dropped, edits), []
    if dropped:
        left_out = f"{len(dropped)} (prompts: {len(conflicts)})"
        notes.append(f"edits left out for conflicting targets: {left_out}")
    asked = sum(len(edit.multihop) for edit in edits if edit.id not in dropped)
    if unanswerable := asked - sum(len(edit.multihop) for edit in kept):
        notes.append(f"multi-hop questions left out, which need an edit left out: {unanswerable}")
    if repeats := len(kept) - len(_by_prompt(kept)):
        notes.append(f"edits merged with one of equal prompt and target: {repeats}")
    return tuple(notes)


def drop_edited_neighbours(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Leaves out neighbours whose prompt is a prompt or rephrase edited in the same run.

    Their answer is meant to change, or may, so they cannot show what must not change.
    """
    edited = _edited(edits)
    return tuple(
        replace(e, neighbours=tuple(n for n in e.neighbours if key(n.prompt) not in edited))
        for e in edits
    )


def notes_on_neighbours(edits: Sequence[Edit], trimmed: Sequence[Edit]) -> tuple[str, ...]:
    """A sentence on the neighbours that were left out of edits; none where all are there."""
    # A neighbour counts once for every edit that has it.
    left_out = sum(len(e.neighbours) for e in edits) - sum(len(e.neighbours) for e in trimmed)
    return (f"neighbours left out, edited themselves: {left_out}",) if left_out else ()


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


def _dropped(conflicts: Sequence[Sequence[Edit]], policy: Policy | None) -> set[str]:
    """Ids of the conflicting edits that the policy leaves out."""
    last = {same[-1].id for same in conflicts if policy == "last"}
    return {edit.id for same in conflicts for edit in same} - last


def _without_questions_of(dropped: Collection[str], edits: Sequence[Edit]) -> list[Edit]:
    """The edits that are not dropped, without the questions that those have too: one that several
    edits have needs all of them."""
    lost = {question for edit in edits if edit.id in dropped for question in edit.multihop}
    kept = [edit for edit in edits if edit.id not in dropped]
    return [replace(e, multihop=tuple(m for m in e.multihop if m not in lost)) for e in kept]


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
