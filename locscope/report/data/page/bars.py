"""Locations that are no single cell of a heatmap: ranges, heads and joined ones, as bars.

A bar stands over the layers of its location, in a lane of its own beside the columns of single
layers. Ranges of one part that do not meet share a lane.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from locscope.locations import PARTS, Location
from locscope.records import TrialRecord
from locscope.report.data.inputs import cell_of, standing

JOINED = "joined"
"""The lanes of locations of several parts."""


class Bar(NamedTuple):
    """A location in a lane: the rows that it takes, rising, and the name of its column."""

    location: str
    lane: str
    rows: tuple[int, ...]


def wide_trials(trials: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """The best trial of every location that is not one part of one layer, by location."""
    best: dict[str, TrialRecord] = {}
    for record in trials:
        name = str(record.trial.location)
        if cell_of(record.trial.location) is not None:
            continue
        if name not in best or standing(record) > standing(best[name]):
            best[name] = record
    return best


def bars_of(names: Iterable[str]) -> tuple[Bar, ...]:
    """A bar per location, in lanes where none lies over another; wide ones come first.

    Example:
        >>> [bar.lane for bar in bars_of(("L0-1.mlp", "L2-3.mlp", "L1-2.mlp", "L0-3.attn"))]
        ['mlp range', 'mlp range', 'mlp range 2', 'attn range']
    """
    lanes: dict[str, list[set[int]]] = defaultdict(list)
    bars = []
    for name in sorted(set(names), key=_order):
        location = Location.parse(name)
        rows = _layers(location)
        kind = _kind(location)
        taken = lanes[kind]
        index = next((i for i, used in enumerate(taken) if not used & rows), len(taken))
        if index == len(taken):
            taken.append(set())
        taken[index] |= rows
        lane = kind if index == 0 else f"{kind} {index + 1}"
        bars.append(Bar(name, lane, tuple(sorted(rows))))
    return tuple(bars)


def _layers(location: Location) -> set[int]:
    return {layer for site in location.sites for layer in range(site.first, site.last + 1)}


def _kind(location: Location) -> str:
    parts = {site.part for site in location.sites}
    if len(parts) > 1:
        return JOINED
    heads = any(site.head is not None for site in location.sites)
    return f"{parts.pop()} {'heads' if heads else 'range'}"


def _order(name: str) -> tuple[int, int, int, str]:
    """Lanes of one part together, in the order of parts; joined ones last."""
    location = Location.parse(name)
    kind = _kind(location).partition(" ")[0]
    part = PARTS.index(kind) if kind in PARTS else len(PARTS)
    rows = sorted(_layers(location))
    # Ranges of one width fill a lane before those of the next begin one.
    return part, -len(rows), rows[0], name
