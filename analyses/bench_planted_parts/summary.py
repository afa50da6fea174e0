"""Verdicts over all plants put together, with intervals over plants."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyses.bench_planted_parts.judging import Verdict
from locscope.scoring.statistics import Interval, mean_interval

TOP = 3
Verdicts = Mapping[tuple[str, str], Mapping[str, Verdict]]
"""By scan and variant, by name of the plant."""


@dataclass(frozen=True)
class Summary:
    """One variant of one scan over `plants` plants at a single location.

    `first` and `third` are recall at 1 and 3, `mean` the mean rank. `before` is the mean rank
    before planting, `gained` by how much planting lifted the rank; `moved` and `moved_first` judge
    the scores' rise. `location` is recall at 1 among all MLPs and attentions. Of `pairs` plants at
    two locations, `either` are found at 1 and `both` within 3. `mlp` and `attn` are mean ranks.
    `favourite` is the layer that most often comes first, whatever was planted.
    """

    scan: str
    variant: str
    plants: int
    parts: str
    first: Interval
    third: Interval
    mean: Interval
    before: Interval
    gained: Interval
    moved_first: Interval
    moved: Interval
    location: Interval
    mlp: float
    attn: float
    pairs: int
    either: int
    both: int
    favourite: str


def summaries(verdicts: Verdicts) -> list[Summary]:
    """One for every variant that could see at least one plant at a single location."""
    found = [_summary(*key, of_plants) for key, of_plants in verdicts.items()]
    return [one for one in found if one is not None]


def _summary(scan: str, variant: str, of_plants: Mapping[str, Verdict]) -> Summary | None:
    single = {name: one for name, one in of_plants.items() if len(one.ranks) == 1}
    pairs = [one for one in of_plants.values() if len(one.ranks) == 2]
    if not single:
        return None
    ranks, before, moved = (
        np.array([getattr(one, what)[0] for one in single.values()])
        for what in ("ranks", "before", "moved")
    )
    location = np.array([one.location for one in single.values()])
    return Summary(
        scan=scan,
        variant=variant,
        plants=len(single),
        parts=", ".join(dict.fromkeys(one.part for one in single.values())),
        first=mean_interval(ranks <= 1),
        third=mean_interval(ranks <= TOP),
        mean=mean_interval(ranks),
        before=mean_interval(before),
        gained=mean_interval(before - ranks),
        moved_first=mean_interval(moved <= 1),
        moved=mean_interval(moved),
        location=mean_interval(np.where(np.isnan(location), np.nan, location <= 1)),
        mlp=_mean_of(single, ".mlp"),
        attn=_mean_of(single, ".attn"),
        pairs=len(pairs),
        either=sum(min(one.ranks) <= 1 for one in pairs),
        both=sum(max(one.ranks) <= TOP for one in pairs),
        favourite=_favourite([one.top for one in single.values()]),
    )


def _mean_of(single: Mapping[str, Verdict], part: str) -> float:
    ranks: Sequence[float] = [one.ranks[0] for name, one in single.items() if part in name]
    return float(np.mean(ranks)) if ranks else float("nan")


def _favourite(tops: Sequence[int]) -> str:
    layer, times = Counter(tops).most_common(1)[0]
    return f"L{layer} ({times / len(tops):.0%})".replace("%", " %")
