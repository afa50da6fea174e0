"""What a search hands over: the recommendation, its evidence, and the verdict on the scans."""

from dataclasses import dataclass

from locscope.records.codec import Number
from locscope.records.trials import Measure, Recipe


@dataclass(frozen=True)
class Contender:
    """A location at its own best rate, as chosen on S and as measured on R.

    `role` is recommended, runner-up, depth-rule or random. `score` is that of all repetitions on R
    together (of each edit the mean of its outcomes), with its bootstrap interval over groups of
    edits; `repetitions` are the scores of each. Measures are means over the repetitions.
    """

    role: str
    location: str
    recipe: Recipe
    parameters: tuple[str, ...]
    parameter_count: int
    score_s: Number
    score: Number
    low: Number
    high: Number
    repetitions: tuple[Number, ...]
    measures: tuple[Measure, ...]
    violated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margin:
    """Paired difference of the recommended location's score to another's, on R."""

    over: str
    location: str
    value: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class Recommendation:
    """Where to tune, how, and why to believe it. `sentence` says it for people."""

    sentence: str
    score_name: str
    objective: str
    contenders: tuple[Contender, ...]
    margins: tuple[Margin, ...]
    tie: bool
    met: bool
    missed: tuple[str, ...]
    model: str
    model_hash: str
    edits: str
    edits_hash: str
    seed: int
    version: str

    @property
    def best(self) -> Contender:
        """The recommended contender."""
        return self.contenders[0]


@dataclass(frozen=True)
class ScanVerdict:
    """How well one variant of a scan predicted what tuning showed on the trials of the sweep.

    `rank` is Spearman's correlation over all locations, `within_part` the mean of those within a
    part; `regret` is the score lost by taking the scan's first choice.
    """

    scan: str
    variant: str
    rank: Number
    low: Number
    high: Number
    within_part: Number
    regret: Number
    count: int
    verdict: str


@dataclass(frozen=True)
class Scorecard:
    """Every scan beside the depth of the layer and a random ranking."""

    outcome: str
    verdicts: tuple[ScanVerdict, ...]
