"""What a localisation method says: a score for every location it can see."""

from dataclasses import dataclass
from math import nan

from locscope.records.codec import Number


@dataclass(frozen=True)
class Descriptor:
    """An entry of a table of scans or measures, in words; results carry it along.

    `function` is `module:name`, imported only when it runs; `sign` is +1 where a high score
    recommends a location, -1 where a low one does; `cost` says in words what it costs, and `passes`
    counts it: forward passes over one request, a formula in the names of `scans.cost.NAMES`.
    `blind` names structures of models (`models.families`) that a scan cannot read.
    """

    name: str
    title: str
    note: str
    source: str
    # Text and not the function: what lists scans does not import torch.
    function: str
    sign: int = 1
    cost: str = ""
    passes: str = "0"
    blind: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScanOptions:
    """How scans are run. Where a value is default, each scan has its own, which its settings name.

    `noise` is in standard deviations of the subjects' embeddings, drawn `samples` times; `stream`
    `rome` draws the very numbers of ROME's code, in the measure of all edits' subjects. `window` is
    in layers (0: 10 at 32 or more, in proportion below; of the stream `rome` always 10), `steps`
    are those of integrated gradients (0: each scan's own), `ablation` is zero, mean or resample.
    Scans that are not cheap take no more than `requests` edits (0: all of them).
    """

    corruption: str = "default"
    metric: str = "default"
    noise: float = 3.0
    samples: int = 10
    stream: str = "own"
    window: int = 0
    steps: int = 0
    ablation: str = "default"
    requests: int = 100


@dataclass(frozen=True)
class ScanScore:
    """The score of one location; `head` is -1 and `role` empty where the scan does not tell them.

    `values` are those of the single requests, in the order of the result's `edits`, NaN where one
    could not be used; none where a score is not a mean over requests.
    """

    variant: str
    layer: int
    part: str
    score: Number
    head: int = -1
    role: str = ""
    low: Number = nan
    high: Number = nan
    count: int = 0
    values: tuple[Number, ...] = ()

    @property
    def location(self) -> str:
        """How it is written; a part that cannot be tuned alone (`resid`) is written alike."""
        return f"L{self.layer}.{self.part}" + (f".h{self.head}" if self.head >= 0 else "")


@dataclass(frozen=True)
class ScanTotal:
    """A number about whole requests and no location, as the total effect of corrupting a subject;
    `values` as in `ScanScore`."""

    name: str
    value: Number
    low: Number
    high: Number
    count: int
    values: tuple[Number, ...]


@dataclass(frozen=True)
class TokenMap:
    """A scan of one prompt: layers x tokens. `subject` holds the indices of its tokens.

    `answer` is what the trace follows; `values[layer][token]` are in the unit of the scan's scores.
    """

    edit: str
    variant: str
    part: str
    tokens: tuple[str, ...]
    subject: tuple[int, ...]
    answer: str
    values: tuple[tuple[Number, ...], ...]


@dataclass(frozen=True)
class ScanResult:
    """One scan on one model and edit set; `usable` of `requests` edits could be used.

    `edits` are their ids, `notes` say what was left out and why.
    """

    descriptor: Descriptor
    scores: tuple[ScanScore, ...]
    requests: int
    usable: int
    seed: int
    seconds: Number
    settings: str = ""
    edits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    maps: tuple[TokenMap, ...] = ()
    totals: tuple[ScanTotal, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The kinds of score it gives, in order of first appearance."""
        # A set would lose the order in which the scan gives them.
        return tuple(dict.fromkeys(score.variant for score in self.scores))

    def of_locations(self, variant: str) -> dict[tuple[int, str], ScanScore]:
        """The scores of whole parts of layers: without those of heads and of token roles."""
        return {
            (score.layer, score.part): score
            for score in self.scores
            # A head is tuned as columns of a matrix, a role is no location at all.
            if score.variant == variant and score.head < 0 and not score.role
        }

    def at(self, variant: str, layer: int, part: str) -> float:
        """The score of a part of a layer; NaN where the scan cannot see it."""
        score = self.of_locations(variant).get((layer, part))
        return nan if score is None else score.score
