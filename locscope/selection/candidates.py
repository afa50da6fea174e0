"""What can be tried: places of the model's grid, each with the rate at which its trials start."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from locscope.errors import UsageError
from locscope.locations import paper_location
from locscope.records import LayerPart, ModelInfo, ScanResult

FIRST_STEP = 0.3
"""The loss change (nats) that Adam's first step shall predict at the starting rate.

Of 0.1, 0.3 and 1 the one that did best at most places of the bundled model (`reports/LOG.md`)."""


@dataclass(frozen=True)
class Candidate:
    """A location with its starting learning rate; `layer` and `part` are for maps and ranks."""

    location: str
    layer: int
    part: str
    parameters: int
    lr: float


def candidates(
    info: ModelInfo, gradient: ScanResult, parts: Sequence[str], first_step: float = FIRST_STEP
) -> tuple[Candidate, ...]:
    """Every layer with each of the parts, at equal predicted loss change of the first step.

    Adam's first step moves every weight by the rate, so to first order the loss changes by the rate
    times the L1 norm of the gradient. A UsageError where a place has no gradient to go by.
    """
    l1 = {(s.layer, s.part): s.score for s in gradient.scores if s.variant == "l1"}
    places = [one for one in info.grid if one.part in parts]
    if not places:
        raise UsageError(f"none of the parts {', '.join(parts)} is in this model")
    return tuple(_candidate(one, first_step, l1[(one.layer, one.part)]) for one in places)


def rounded(rate: float) -> float:
    """A rate as it is written down: three digits, so that a typed one is the same number."""
    return float(f"{rate:.3g}")


def depth_rule(info: ModelInfo) -> str:
    """The paper's location for this model, by relative depth."""
    return str(paper_location(info.family, info.layers))


def drawn(found: Sequence[Candidate], seed: int) -> Candidate:
    """A location at random: the null that every choice has to beat."""
    return random.Random(f"random location {seed}").choice(list(found))


def named(found: Sequence[Candidate], location: str) -> Candidate | None:
    """The candidate of that location, if it is one."""
    return next((one for one in found if one.location == location), None)


def _candidate(place: LayerPart, first_step: float, l1: float) -> Candidate:
    if not 0 < l1 < inf:
        raise UsageError(
            f"the edits have no gradient at {place.location} (L1 norm {l1}): the model may "
            "already know them all"
        )
    rate = rounded(first_step / l1)
    return Candidate(place.location, place.layer, place.part, place.parameters, rate)
