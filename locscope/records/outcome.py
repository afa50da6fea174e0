"""What a search hands over: the recommendation, its evidence, and the verdict on the scans."""

from dataclasses import dataclass, field
from math import nan

from locscope.locations import Location
from locscope.records.codec import At, AtOrNone, AtOrWords, Number
from locscope.records.trials import Measure, Recipe


@dataclass(frozen=True)
class Contender:
    """A location at its own best rate, as chosen on S (and on V) and as measured on T.

    `role` is recommended, runner-up, depth-rule or random; several random locations may be one
    contender: words stand for its location, its numbers are means over them and its rate is NaN, as
    each has its own.
    `score_v` is the score over its trials on V, NaN where it was not validated. `score` is that of
    all repetitions on T together (of each edit the mean of its outcomes), with its bootstrap
    interval over groups of edits; where the score holds more than edits, the mean of the
    repetitions with their t interval. `edits` is how many a repetition tunes, `repetitions` are
    the scores of each. Measures are means over the repetitions.
    """

    role: str
    location: AtOrWords
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
    score_v: Number = nan
    edits: int = 0


@dataclass(frozen=True)
class FitPoint:
    """A trial by which a recipe was fitted to the edits that will be made.

    All of them are tuned; `score`, over the outcomes of the edits of S and V alone, and
    `perplexity_ratio`, on the neutral texts that serve for choosing, are what it was judged by.
    """

    location: At
    lr: Number
    batch: int
    score: Number
    perplexity_ratio: Number
    violated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """The recommended location tuned on the edits that will be made, by the final recipe.

    `edits` of the `given` ones were tuned and measured; drift is read on the neutral texts that
    nothing was chosen on. `trial` is the id of the trial, `fits` are those by which the recipes of
    the finalists were fitted to this number of edits.
    """

    location: At
    recipe: Recipe
    parameters: tuple[str, ...]
    parameter_count: int
    edits: int
    given: int
    score: Number
    low: Number
    high: Number
    measures: tuple[Measure, ...]
    violated: tuple[str, ...]
    trial: str
    fits: tuple[FitPoint, ...] = ()


@dataclass(frozen=True)
class Margin:
    """Paired difference of the recommended location's score to another's, on T.

    `protocol` says what was paired and drawn for the interval.
    """

    over: str
    location: AtOrWords
    value: Number
    low: Number
    high: Number
    protocol: str = ""


@dataclass(frozen=True)
class FrontPoint:
    """A trial on S that no other beat in both efficacy (0..1) and perplexity ratio."""

    location: At
    lr: Number
    efficacy: Number
    perplexity_ratio: Number
    knee: bool = False


@dataclass(frozen=True)
class BoundPoint:
    """The best trial, on so many `edits`, within a bound on the perplexity ratio; NaN and no
    location where none keeps it."""

    limit: Number
    location: AtOrNone
    lr: Number
    score: Number
    reliability: Number
    perplexity_ratio: Number
    edits: int = 0


@dataclass(frozen=True)
class Recommendation:
    """Where to tune, how, and why to believe it. `sentence` says it for people.

    `contenders` and `margins` are held-out evidence, measured on T; the first contender is the
    recommended location. `deployment` is that location on the edits that will be made: sentence,
    `met` and `missed` follow it, and its recipe is the one to use. `reason` says why the location
    was chosen, `non_inferiority` is the score that a smaller one may lack. `notes` say why numbers
    that seem to contradict each other do not. `randoms` are the random locations one by one, and
    `ahead` names those that scored more on T than the recommended one on the same edits, the one
    with the largest lead first.

    `weights` (of the score's terms) and `bounds` are all that were in force, as one writes them.
    `bound_margin` is the share of what bounds on drift allow that choices leave free. `front` is
    that of efficacy against collapse on S, collapse rising. `relaxed` is the bound by which it was
    chosen where the bound asked for leaves nothing useful, and `looser` what each bound would give.
    """

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
    # With defaults, so that records from before a field was there are read.
    weights: dict[str, float] = field(default_factory=dict)
    bounds: tuple[str, ...] = ()
    front: tuple[FrontPoint, ...] = ()
    bound_margin: float = 0.0
    deployment: Deployment | None = None
    reason: str = ""
    non_inferiority: float = 0.0
    notes: tuple[str, ...] = ()
    randoms: tuple[Contender, ...] = ()
    relaxed: str = ""
    looser: tuple[BoundPoint, ...] = ()
    ahead: tuple[At, ...] = ()

    @property
    def best(self) -> Contender:
        """The recommended contender, as measured on T."""
        return self.contenders[0]

    @property
    def location(self) -> Location:
        """The recommended location. Raises ValueError where words stand for it."""
        if not isinstance(self.best.location, Location):
            raise ValueError(f"the recommended location is '{self.best.location}'")
        return self.best.location

    @property
    def recipe(self) -> Recipe:
        """The recipe to use: fitted to the edits that will be made, where that was done."""
        return self.deployment.recipe if self.deployment else self.best.recipe


PREDICTS = "predicts here"
AS_DEPTH = "predicts, but no more than depth"
CANNOT_TELL = "cannot tell"
DOES_NOT = "does not"
VERDICTS = (PREDICTS, AS_DEPTH, CANNOT_TELL, DOES_NOT)
"""What can be said of a scan, the best first."""


@dataclass(frozen=True)
class ScanVerdict:
    """How well one variant of a scan predicted what tuning showed on the audit's trials.

    `verdict` is one of `VERDICTS`, `sentence` says why. `count` is how many single layers were
    compared within their part, which has three or more of them. `within` is Spearman's correlation
    there; `added` the share of the order within parts that the scan explains beyond four powers of
    depth, with the sign of its slope. `p_within` is two-sided, the larger of those from shuffles
    of runs of layers and from random scores as smooth as the scan's, `p_added` one-sided from
    shuffles; both after Holm's correction for all claims about all rows (`holm_in_turn`).
    `regret_k` is what the best of its first k of all locations lacks to the best of all, in score.
    `overall` is Spearman's correlation over all locations with the parts mixed, `score_only` that
    within parts where broken bounds do not count, `full` that over the `full_count` locations that
    were tuned in full. Intervals are of 95 %, over groups of edits; `resampled` tells whether the
    scan was made again with the outcome, or is no mean over requests and was held fixed.
    """

    scan: str
    variant: str
    verdict: str
    sentence: str = ""
    count: int = 0
    resampled: bool = False
    within: Number = nan
    within_low: Number = nan
    within_high: Number = nan
    added: Number = nan
    added_low: Number = nan
    added_high: Number = nan
    p_within: Number = nan
    p_added: Number = nan
    regret_1: Number = nan
    regret_1_low: Number = nan
    regret_1_high: Number = nan
    regret_3: Number = nan
    regret_3_low: Number = nan
    regret_3_high: Number = nan
    regret_5: Number = nan
    regret_5_low: Number = nan
    regret_5_high: Number = nan
    overall: Number = nan
    score_only: Number = nan
    full: Number = nan
    full_low: Number = nan
    full_high: Number = nan
    full_count: int = 0


@dataclass(frozen=True)
class Scorecard:
    """Every scan beside the depth rule, the depth of the layer and random orders.

    `outcome` says what was to be predicted, of `locations` on `edits` in `groups`; `violated` of
    the locations broke a bound. `outcome_reliability` is the correlation within parts of the
    outcome with itself on other edits of the kind; `looks_full` is Spearman's correlation of first
    quick evaluations with full trials of the same locations. `notes` are for people.
    """

    outcome: str
    verdicts: tuple[ScanVerdict, ...]
    locations: int = 0
    edits: int = 0
    groups: int = 0
    violated: int = 0
    outcome_reliability: Number = nan
    looks_full: Number = nan
    looks_full_low: Number = nan
    looks_full_high: Number = nan
    full_count: int = 0
    notes: tuple[str, ...] = ()
