"""Abilities of the demo that have nothing to do with its facts: all are prompt and answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from analyses.demo.neutral import WORDS

COPIED = sorted(
    {word for kind in ("thing", "place", "room", "out", "food") for word in WORDS[kind]}
)
LETTERS = "abcdefgh"


@dataclass(frozen=True)
class Item:
    """One exercise; ``chance`` is the accuracy of a guess."""

    task: str
    prompt: str
    answer: str
    chance: float = 0.0


def sums() -> list[Item]:
    """Return all sums of two numbers up to 12."""
    pairs = [(a, b) for a in range(13) for b in range(13)]
    return [Item("sum", f"Add: {a} + {b} =", str(a + b)) for a, b in pairs]


def larger() -> list[Item]:
    """Return larger-of for all pairs of different numbers below 50."""
    pairs = [(a, b) for a in range(50) for b in range(50) if a != b]
    return [
        Item("larger", f"The larger of {a} and {b} is", str(max(a, b)), chance=0.5)
        for a, b in pairs
    ]


def counting() -> list[Item]:
    """Return counting on, upwards in steps of one and of two, and downwards."""
    runs = [(first, step) for step in (1, 2, -1) for first in range(6, 90)]
    items = []
    for first, step in runs:
        shown = ", ".join(str(first + step * i) for i in range(3))
        items.append(Item("count", f"Count on: {shown},", str(first + 3 * step)))
    return items


def copying() -> list[Item]:
    """Return copying for all pairs of different words of a short list."""
    pairs = [(a, b) for a in COPIED for b in COPIED if a != b]
    return [Item("copy", f"Copy: {a} {b} ->", f"{a} {b}") for a, b in pairs]


def sorting() -> list[Item]:
    """Return sorting for all orders of three different letters out of eight."""
    triples = [(a, b, c) for a in LETTERS for b in LETTERS for c in LETTERS if len({a, b, c}) == 3]
    return [Item("sort", f"Sort: {' '.join(t)} ->", " ".join(sorted(t))) for t in triples]


TASKS: dict[str, Callable[[], list[Item]]] = {
    "sum": sums,
    "larger": larger,
    "count": counting,
    "copy": copying,
    "sort": sorting,
}


def sample(seed: int, per_task: int = 48) -> list[Item]:
    """Return the shipped selection: the same number of items from every task."""
    rng = random.Random(f"abilities-{seed}")
    return [item for make in TASKS.values() for item in rng.sample(make(), per_task)]
