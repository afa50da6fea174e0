"""Judging: did a scan put the planted layer first, among the layers of the part that it sees?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from locscope.locations import Location

WIDER = {"mlp": "block", "attn": "block"}
"""What a part belongs to; `mlp.down` belongs to `mlp`."""

Scores = Mapping[str, Sequence[float]]
"""The scores of one variant by part, a number a layer."""


@dataclass(frozen=True)
class Verdict:
    """Ranks of the planted layers, 1 the best, one for each site of the plant.

    `ranks` are those in the planted model, `before` those in the model before planting, `moved`
    those by how much the score rose. `location` is the rank among all MLPs and attentions together,
    NaN where the variant does not score both. `top` is the layer with the highest score.
    """

    part: str
    ranks: tuple[float, ...]
    before: tuple[float, ...]
    moved: tuple[float, ...]
    location: float
    top: int


def rank(scores: Sequence[float], index: int) -> float:
    """The rank of one score, 1 the highest; ties share their mean rank, NaN comes last."""
    table = np.asarray([-np.inf if isnan(score) else score for score in scores])
    higher, same = (table > table[index]).sum(), (table == table[index]).sum()
    return float(1 + higher + (same - 1) / 2)


def seen_part(parts: Sequence[str], planted: str) -> str:
    """The narrowest part that holds the planted one and is scored; empty where there is none."""
    part = planted
    while part and part not in parts:
        part = WIDER.get(part, part.partition(".")[0] if "." in part else "")
    return part


def judge(location: str, after: Scores, before: Scores) -> Verdict | None:
    """Judges one variant on one plant; None where it cannot see the planted part."""
    sites = Location.parse(location).sites
    parts = [seen_part(list(after), site.part) for site in sites]
    if not all(parts) or any(all(map(isnan, after[part])) for part in parts):
        return None
    pairs = [(part, site.first) for part, site in zip(parts, sites, strict=True)]
    rises = {part: rise(after[part], before.get(part, ())) for part in parts}
    return Verdict(
        part="+".join(dict.fromkeys(parts)),
        ranks=tuple(rank(after[part], layer) for part, layer in pairs),
        before=tuple(rank(before[p], layer) if p in before else nan for p, layer in pairs),
        moved=tuple(rank(rises[part], layer) for part, layer in pairs),
        location=_location_rank(after, *pairs[0]) if len(pairs) == 1 else nan,
        top=int(np.nanargmax(after[parts[0]])),
    )


def rise(after: Sequence[float], before: Sequence[float]) -> list[float]:
    """By how much every layer's score rose; NaN where there is none before."""
    if not before:
        return [nan] * len(after)
    return [a - b for a, b in zip(after, before, strict=True)]


def peak(scores: Sequence[float]) -> float:
    """How far the best layer stands out: standard deviations above the layers' mean."""
    table = np.asarray([score for score in scores if not isnan(score)])
    spread = table.std() if table.size else 0.0
    return float((table.max() - table.mean()) / spread) if spread > 0 else nan


def _location_rank(after: Scores, part: str, layer: int) -> float:
    if part not in WIDER or not set(WIDER) <= set(after):
        return nan
    others = [score for other in WIDER if other != part for score in after[other]]
    return rank([*after[part], *others], layer)
