"""A trial: one location with one recipe on one set of edits and one seed, tuned and measured."""

from dataclasses import dataclass
from functools import cached_property
from math import nan

from locscope.records.codec import At, Number, fingerprint

COUNT_RUNG = "count-"
"""What the rungs of trials begin with of which the number of edits is the point."""
RANK = 8
"""Of LoRA where none is named. PEFT's own, as its alpha is; which would be best was not sought."""


@dataclass(frozen=True)
class Recipe:
    """How a location is tuned. The defaults are those of LocFT-BF (code, `fine-tune.py`).

    `kind` is an entry of the table of recipes, `rank` that of `lora` (0: its own).
    `batch` is in rows (edits, and their copies with a random prefix where `prefixes` of each are
    tuned too), `skip_below` and `stop_below` in nats of mean loss. `order` is breadth-first, where
    `epochs` caps the passes over all, or depth-first, where it caps the steps on one row.
    """

    lr: Number
    batch: int
    kind: str = "full"
    order: str = "breadth-first"
    epochs: int = 25
    # A batch with less loss takes no step: its edits are learned, and steps would only drift.
    skip_below: float = 1e-2
    stop_below: float = 1e-2
    prefixes: int = 0
    prompt_format: str = "raw"
    rank: int = 0


def default_batch(edits: int) -> int:
    """Edits a batch where none is set: with few edits, the paper's 100 leaves too few steps."""
    return min(100, max(8, edits // 4))


@dataclass(frozen=True)
class Trial:
    """What is asked of one trial. `edits` are the ids tuned, in file order, and measured, unless
    only some of them are `judged`.

    `split` is S, V or T, or `all` where edits of several are tuned. `choosing` tells that something
    is chosen by it: then drift is read on the neutral texts that serve for choosing, and bounds
    have their margin. Only a `thorough` one asks the edits' other forms and multi-hop questions
    too. A `quick` reads probabilities alone, and some of the neutral texts: what early rungs of a
    race go by.
    """

    location: At
    recipe: Recipe
    edits: tuple[str, ...]
    split: str
    rung: str
    seed: int
    model: str
    edit_set: str
    thorough: bool = False
    quick: bool = False
    choosing: bool = False
    judged: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Ids of the edits that are measured."""
        # Empty means all: records of trials that judge all need not list the edits twice.
        return self.judged or self.edits

    @cached_property
    def id(self) -> str:
        """Hash of all that decides the outcome."""
        # It names records on disk: another field of Trial or Recipe, default or not, gives all of
        # them other ids.
        return fingerprint(self)


@dataclass(frozen=True)
class Measure:
    """A measured number with the protocol it was measured under.

    `count` is how many items were judged, `low` and `high` its 95 % interval, `before` the value
    of the untouched model. NaN is not measured.
    """

    name: str
    value: Number
    count: int
    protocol: str
    low: Number = nan
    high: Number = nan
    before: Number = nan


@dataclass(frozen=True)
class EditOutcome:
    """What became of one edit: shares in 0..1, NaN where the edit has nothing to judge by.

    `output` is the tuned model's answer where it was decoded, `broken` the neighbours' prompts
    whose answer changed. Probabilities are geometric means over tokens: of the target, of the
    rephrases' answers, and min(1, p/p0) of the neighbours' tokens that locality compares
    (`neighbour_kept`). A quick evaluation gives these alone.
    """

    edit: str
    reliability: Number
    reliability_strict: Number
    generalization: Number
    locality: Number
    output: str = ""
    broken: tuple[str, ...] = ()
    target_probability: Number = nan
    rephrase_probability: Number = nan
    neighbour_kept: Number = nan


@dataclass(frozen=True)
class Epoch:
    """One pass over the edits: mean loss in nats, optimiser steps taken, batches skipped."""

    loss: Number
    steps: int
    skipped: int


@dataclass(frozen=True)
class TrialRecord:
    """What a trial gave. `status` is `done`, or says after how many epochs it was given up:
    what was measured is then the model as it was there.

    `environment` is what it was run with that no setting says, as `torch 2.13.0`.
    """

    trial: Trial
    status: str
    score: Number
    score_name: str
    measures: tuple[Measure, ...]
    outcomes: tuple[EditOutcome, ...]
    epochs: tuple[Epoch, ...]
    parameters: tuple[str, ...]
    parameter_count: int
    change_norm: Number
    decoded: int
    seconds: Number
    flops: Number
    violated: tuple[str, ...] = ()
    # With a default, so that records from before the field was there are read.
    environment: tuple[str, ...] = ()

    def measure(self, name: str) -> Measure:
        """The measure of that name; not measured is a NaN with count 0."""
        for measure in self.measures:
            if measure.name == name:
                return measure
        # Callers compare values, and a NaN never passes a comparison.
        return Measure(name, nan, 0, "not measured")

    @property
    def steps(self) -> int:
        """Optimiser steps taken in all epochs."""
        return sum(epoch.steps for epoch in self.epochs)


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
    # The protocol of the search is among the rows, to be compared with.
    searched: bool = False

    def value(self, measure: str) -> float:
        """The value of a measure; NaN where it was not measured."""
        return next((m.value for m in self.measures if m.name == measure), nan)


@dataclass(frozen=True)
class ProtocolResults:
    """A contender of the recommendation under every protocol, tuned once on `edits` edits of T.

    `trial` is the id of the trial on T that tuned the very same weights; `score` is that trial's.
    """

    role: str
    location: At
    recipe: Recipe
    trial: str
    edits: int
    score: Number
    rows: tuple[ProtocolRow, ...]

    @property
    def searched(self) -> ProtocolRow | None:
        """The protocol of the search itself."""
        return next((row for row in self.rows if row.searched), None)
