"""What is shown of a recommendation besides T: other protocols, and other numbers of edits."""

from dataclasses import dataclass

from locscope.records.codec import Number
from locscope.records.trials import Measure, Recipe

COUNT_RUNG = "count-"
"""What the rungs of trials begin with of which the number of edits is the point."""


@dataclass(frozen=True)
class ProtocolRow:
    """What was measured under one protocol. `kind` is protocol, form or multihop.

    `measures` hold what could be asked of reliability, generalization and locality, the latter
    against the untouched model under the same protocol. `reason` says why there are none.
    """

    name: str
    title: str
    kind: str
    measures: tuple[Measure, ...] = ()
    reason: str = ""
    searched: bool = False

    def value(self, measure: str) -> float:
        """The value of a measure; NaN where it was not measured."""
        return next((one.value for one in self.measures if one.name == measure), float("nan"))


@dataclass(frozen=True)
class ProtocolResults:
    """A contender of the recommendation under every protocol, tuned once on `edits` edits of T.

    `trial` is the id of the trial on T that tuned the very same weights; `score` is that trial's.
    """

    role: str
    location: str
    recipe: Recipe
    trial: str
    edits: int
    score: Number
    rows: tuple[ProtocolRow, ...]

    @property
    def searched(self) -> ProtocolRow | None:
        """The protocol of the search itself."""
        return next((row for row in self.rows if row.searched), None)
