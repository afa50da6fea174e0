"""What a localisation method says: a score for every place it can see."""

from dataclasses import dataclass
from math import nan

from locscope.records.codec import Number


@dataclass(frozen=True)
class Descriptor:
    """An entry of a table of scans or measures, in words; results carry it along.

    `function` is `module:name`, imported only when it runs; `sign` is +1 where a high score
    recommends a place, -1 where a low one does; `cost` says in words what it costs.
    """

    name: str
    title: str
    note: str
    source: str
    function: str
    sign: int = 1
    cost: str = ""


@dataclass(frozen=True)
class ScanScore:
    """The score of one place; `head` is -1 and `role` empty where the scan does not tell them."""

    variant: str
    layer: int
    part: str
    score: Number
    head: int = -1
    role: str = ""
    low: Number = nan
    high: Number = nan
    count: int = 0


@dataclass(frozen=True)
class ScanResult:
    """One scan on one model and edit set; `usable` of `requests` edits could be used."""

    descriptor: Descriptor
    scores: tuple[ScanScore, ...]
    requests: int
    usable: int
    seed: int
    seconds: Number
    settings: str = ""

    @property
    def variants(self) -> tuple[str, ...]:
        """The kinds of score it gives, in order of first appearance."""
        return tuple(dict.fromkeys(score.variant for score in self.scores))
