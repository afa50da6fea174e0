"""Changes of stacked experts as changes of the tensors that a checkpoint has of each expert.

In memory one parameter holds a layer's experts; most checkpoints have three matrices per expert.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from locscope.models.families import FAMILIES
from locscope.models.parts import Slice
from locscope.models.structure.choices import Ranges

_STACKED = re.compile(r"(?P<layer>.*(?:layers|h)\.\d+\.)mlp\.experts\.(?P<which>gate_up|down)_proj")

Window = tuple[str, int, int]
"""A tensor on disk, and the rows `first` to before `last` of the stacked parameter that it is."""


def windows(kind: str, name: str, shapes: Mapping[str, Sequence[int]]) -> tuple[Window, ...]:
    """The tensors on disk that are a stacked parameter, in the order of its rows.

    Empty where it is no such parameter, or is stacked on disk too.
    """
    match = _STACKED.fullmatch(name)
    keys = FAMILIES[kind].stored if kind in FAMILIES else ()
    if not match or not keys:
        return ()
    gate, up, down = (f"{match['layer']}{key}" for key in keys)
    wanted = (gate, up) if match["which"] == "gate_up" else (down,)
    found: list[Window] = []
    while all(key.format(_experts(found, wanted)) in shapes for key in wanted):
        number = _experts(found, wanted)
        for key in wanted:
            first = found[-1][2] if found else 0
            own = key.format(number)
            found.append((own, first, first + shapes[own][0]))
    return tuple(found)


def unstacked(
    part: Slice, of: Sequence[Window], shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[Slice, int, int]]:
    """The slices on disk of one in memory, each with where its values begin and end in those of it.

    Its values are row after row, so that every expert's are neighbours.
    """
    ranges: Ranges = part.ranges if part.axis is not None else ((0, of[-1][2]),)
    start = 0
    for low, high in ranges:
        for key, first, last in of:
            inside = (max(low, first), min(high, last))
            if inside[0] < inside[1]:
                rows = inside[1] - inside[0]
                count = rows * shapes[key][1]
                whole = rows == shapes[key][0]
                mine = () if whole else ((inside[0] - first, inside[1] - first),)
                yield Slice(key, None if whole else 0, mine, count), start, start + count
                start += count


def _experts(found: Sequence[Window], wanted: Sequence[str]) -> int:
    return len(found) // len(wanted)
