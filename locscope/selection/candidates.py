"""What can be tried: locations, each with the rate at which its trials start.

Locations are every part of every layer, ranges of layers (quarters and neighbouring pairs of them,
as in CoFiTune, arXiv 2404.10306; runs of consecutive layers), and what the user names.
"""

import random
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from locscope.errors import UsageError
from locscope.locations import Location, Site, paper_location
from locscope.records import LayerPart, ModelInfo, ScanResult
from locscope.tuning.recipes import rate_for

FIRST_STEP = 0.3
"""The loss change (nats) that Adam's first step shall predict at the starting rate, where nothing
is known of the loss.

Of 0.1, 0.3 and 1 it did best at most locations of the bundled model (`reports/LOG.md`)."""
LEARNS_IN_FULL = 6.0
"""How often over the steps of a full trial are predicted to remove the loss of its edits, at the
starting rate: best rates were at 5 on SmolLM2-135M and at 4 to 12 on the bundled model."""
QUARTERS = 4
STEP = 3.0
"""Between a starting rate and those below and above it."""


@dataclass(frozen=True)
class Candidate:
    """A location with its starting learning rate.

    `layer` is the only one, or -1 where it has several; `part` is as its sites are named.
    """

    location: Location
    layer: int
    part: str
    parameters: int
    lr: float

    @property
    def rates(self) -> tuple[float, float, float]:
        """Those that a sweep tries first: the starting one, a third of it and three times it."""
        return self.lr, rounded(self.lr / STEP), rounded(self.lr * STEP)


def candidates(
    info: ModelInfo,
    gradient: ScanResult,
    locations: Sequence[Location],
    norm_of: Callable[[Location], float] | None = None,
    first_step: float = FIRST_STEP,
) -> tuple[Candidate, ...]:
    """Locations of the model, at equal predicted loss change of the first step.

    Adam's first step moves every weight by the rate, so to first order the loss changes by the rate
    times the L1 norm of the gradient; `norm_of` measures it where the scan has no row for a
    location. A UsageError where a location has no gradient to go by.
    """
    norms = {(s.layer, s.part): s.score for s in gradient.scores if s.variant == "l1"}
    there = {(cell.layer, cell.part): cell for cell in info.grid}
    return tuple(_candidate(location, there, norms, norm_of, first_step) for location in locations)


def located(
    info: ModelInfo,
    parts: Sequence[str],
    named: Sequence[str | Location] = (),
    *,
    quarters: bool = False,
    consecutive: int = 1,
) -> tuple[Location, ...]:
    """What there is to try: parts of layers, of so many in a row, and of quarters of the layers, as
    far as the model has them, and what is named, each once. A UsageError where there is none."""
    there = {(cell.layer, cell.part) for cell in info.grid}
    spans = spans_of(info.layers, consecutive, wide=quarters)
    sites = [Site(*span, part) for span in spans for part in parts]
    locations = [site for site in sites if _inside(site, there)]
    if not locations and not named:
        raise UsageError(f"none of the parts {', '.join(parts)} is in this model")
    wanted = (
        *(Location((location,)) for location in locations),
        *(Location.parse(str(name)) for name in named),
    )
    return tuple(dict.fromkeys(wanted))


def spans_of(layers: int, consecutive: int, *, wide: bool) -> tuple[tuple[int, int], ...]:
    """First and last layers: of single ones, of so many in a row, and where `wide` of quarters and
    pairs of them; each once."""
    spans = [(n, n) for n in range(layers)]
    spans += [(n, n + consecutive - 1) for n in range(layers - consecutive + 1)]
    # In a model of few layers a quarter is a single layer.
    return tuple(dict.fromkeys((*spans, *(quarters(layers) if wide else ()))))


def quarters(layers: int) -> list[tuple[int, int]]:
    """First and last layer of every quarter, and of every two neighbouring ones (CoFiTune)."""
    edges = [round(layers * i / QUARTERS) for i in range(QUARTERS + 1)]
    wide = [(edges[i], edges[i + 2]) for i in range(QUARTERS - 1)]
    return [(low, high - 1) for low, high in (*pairwise(edges), *wide) if high > low]


def rounded(rate: float) -> float:
    """A rate as it is written down: three digits, so that a typed one is the same number."""
    return float(f"{rate:.3g}")


def first_step_for(to_learn: float, steps: int) -> float:
    """The loss change (nats) of the first step at the starting rate, for a trial of so many steps
    on edits of that mean loss (nats per token): real models have more to learn than toys."""
    known = to_learn > 0 and isfinite(to_learn)
    return LEARNS_IN_FULL * to_learn / steps if known else FIRST_STEP


def depth_rule(info: ModelInfo) -> Location:
    """The paper's location for this model, by relative depth."""
    return paper_location(info.family, info.layers)


def shuffled(found: Sequence[Candidate], seed: int) -> tuple[Candidate, ...]:
    """The candidates in an order drawn by the seed alone, before anything was seen of them.

    Whoever needs random locations takes the first of these, so that all take the same.
    """
    # Sorted first: the order in which candidates were made must not decide what is drawn.
    order = sorted(found, key=lambda candidate: candidate.location)
    random.Random(f"random location {seed}").shuffle(order)
    return tuple(order)


def named(found: Sequence[Candidate], location: Location) -> Candidate | None:
    """The candidate of that location, if it is one."""
    return next((candidate for candidate in found if candidate.location == location), None)


def _inside(location: Site, there: Container[tuple[int, str]]) -> bool:
    return all((n, location.part) in there for n in range(location.first, location.last + 1))


def _candidate(
    location: Location,
    there: Mapping[tuple[int, str], LayerPart],
    norms: Mapping[tuple[int, str], float],
    norm_of: Callable[[Location], float] | None,
    first_step: float,
) -> Candidate:
    layers = {n for site in location.sites for n in (site.first, site.last)}
    cells = location.cells
    alone = len(location.sites) == 1 and bool(cells) and set(cells) <= set(norms)
    if not alone and norm_of is None:
        raise ValueError(f"no gradient norm of {location} is known, and nothing to measure it by")
    # The L1 norms of layers add up, as every weight moves by the rate.
    norm = sum(norms[c] for c in cells) if alone or norm_of is None else norm_of(location)
    return Candidate(
        location=location,
        layer=layers.pop() if len(layers) == 1 else -1,
        part="+".join(dict.fromkeys(site.part for site in location.sites)),
        parameters=sum(there[cell].parameters for cell in cells if cell in there),
        lr=rounded(rate_for("full", location, norm, first_step)),
    )
