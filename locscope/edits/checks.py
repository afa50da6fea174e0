"""What a set of edits needs before it can be tuned and judged: no conflicts, honest neighbours.

Nothing is changed in place: every function gives new edits and says what it left out.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.records import Edit, Probe

Policy = Literal["last", "drop"]
SHOWN = 3
"""How many conflicts an error lists."""


@dataclass(frozen=True)
class Conflict:
    """A prompt that occurs with several targets, in file order, and the ids of those edits."""

    prompt: str
    targets: tuple[str, ...]
    edits: tuple[str, ...]


@dataclass(frozen=True)
class Resolved:
    """Edits with one target per prompt; `dropped` are ids left out, `merged` repeats joined."""

    edits: tuple[Edit, ...]
    conflicts: tuple[Conflict, ...]
    dropped: tuple[str, ...]
    merged: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, in sentences; empty where nothing was."""
        lines = []
        if self.dropped:
            count, prompts = len(self.dropped), len(self.conflicts)
            lines.append(f"edits left out for conflicting targets: {count} (prompts: {prompts})")
        if self.merged:
            lines.append(f"edits merged with one of equal prompt and target: {self.merged}")
        return tuple(lines)


@dataclass(frozen=True)
class Trimmed:
    """Edits without the neighbours that are themselves edited; `prompts` are those left out."""

    edits: tuple[Edit, ...]
    prompts: tuple[str, ...]

    @property
    def left_out(self) -> int:
        """How many neighbours were left out, each counted at every edit that had it."""
        return len(self.prompts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, in a sentence; empty where nothing was."""
        return (f"neighbours left out, edited themselves: {self.left_out}",) if self.prompts else ()


def find_conflicts(edits: Sequence[Edit]) -> tuple[Conflict, ...]:
    """The prompts that occur with different targets, both compared without case and spacing."""
    conflicts = []
    for same in _by_prompt(edits).values():
        targets: dict[str, str] = {}
        for edit in same:
            targets.setdefault(key(edit.target), edit.target)
        if len(targets) > 1:
            ids = tuple(edit.id for edit in same)
            conflicts.append(Conflict(same[0].prompt, tuple(targets.values()), ids))
    return tuple(conflicts)


def resolve_conflicts(edits: Sequence[Edit], policy: Policy | None) -> Resolved:
    """Edits with one target per prompt, in file order; equal edits are merged into the first.

    Of conflicting edits `last` keeps the last, `drop` none; without a policy they are a
    UsageError that lists up to three.
    """
    if policy not in (None, "last", "drop"):
        raise UsageError(f"unknown policy for conflicts '{policy}': there are last, drop")
    conflicts = find_conflicts(edits)
    if conflicts and policy is None:
        raise UsageError(_refusal(conflicts))
    keep = {conflict.edits[-1] for conflict in conflicts if policy == "last"}
    involved = {edit for conflict in conflicts for edit in conflict.edits}
    kept = [edit for edit in edits if edit.id not in involved or edit.id in keep]
    merged = [_merged(same) for same in _by_prompt(kept).values()]
    if not merged:
        raise UsageError("no edits are left when those with conflicting targets are dropped")
    dropped = tuple(edit.id for edit in edits if edit.id in involved - keep)
    return Resolved(tuple(merged), conflicts, dropped, len(kept) - len(merged))


def drop_edited_neighbours(edits: Sequence[Edit]) -> Trimmed:
    """Leaves out neighbours whose prompt is a prompt or rephrase edited in the same run.

    Their answer is meant to change, or may, so they cannot show what must not.
    """
    edited = _edited(edits)
    trimmed = tuple(
        replace(e, neighbours=tuple(n for n in e.neighbours if key(n.prompt) not in edited))
        for e in edits
    )
    out = tuple(n.prompt for e in edits for n in e.neighbours if key(n.prompt) in edited)
    return Trimmed(trimmed, out)


def lend_neighbours(
    tuned: Sequence[Edit], others: Sequence[Edit], *, per_edit: int = 2, seed: int = 0
) -> tuple[Edit, ...]:
    """The tuned edits with prompts of `others`, which are not tuned, as neighbours.

    Where any tuned edit has neighbours of its own, or nobody can lend, they come back as they
    are. Every edit gets `per_edit` different ones (fewer where fewer exist), lent about equally
    often, with the old answer as the stated one. Two edits have all of theirs in common or none:
    overlaps would make one group of all edits, whose measures had no interval.
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
    whole = range(0, len(lent) - count + 1, count)
    blocks = [tuple(lent[start : start + count]) for start in whole]
    return tuple(replace(edit, neighbours=blocks[i % len(blocks)]) for i, edit in enumerate(tuned))


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


def _refusal(conflicts: Sequence[Conflict]) -> str:
    shown = "; ".join(
        f"'{c.prompt}' -> {' or '.join(c.targets)} (edits {', '.join(c.edits)})"
        for c in conflicts[:SHOWN]
    )
    more = f"; and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
    return (
        f"conflicting targets (prompts: {len(conflicts)}): {shown}{more}; correct the file, or "
        "choose --conflicts last (keep the last) or --conflicts drop (keep none)"
    )
