"""What a strategy is given, and what it may ask for: plain data, so that it is a pure function."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import Literal

from locscope.errors import unknown
from locscope.locations import Location
from locscope.records import ScanResult, TrialRecord
from locscope.scoring.objectives import Objective
from locscope.selection.candidates import FIRST_STEP, Candidate, shuffled

FULL = "full"
"""The rung of trials on all of S with all epochs, whatever the strategy."""


@dataclass(frozen=True)
class Fidelity:
    """How much a trial spends: edits (the first of S in a drawn order), epochs at most.

    A `quick` reads probabilities in one pass, without decoding.
    """

    rung: str
    edits: int
    epochs: int
    quick: bool = False


@dataclass(frozen=True)
class TrialRequest:
    """A trial that a strategy wants, on S."""

    location: Location
    lr: float
    fidelity: Fidelity


@dataclass(frozen=True)
class Space:
    """All that a strategy may go by besides the trials so far.

    `edits` is how many S has. `first_step` is the loss change (nats) that the first step at a
    starting rate is predicted to make, `to_learn` the edits' mean loss (nats per token) before
    tuning; NaN where nobody measured it. `budget` is what choosing may take: a share of a sweep's
    operations, operations, or seconds of trials. Without one a strategy has its own idea of enough.
    """

    candidates: tuple[Candidate, ...]
    scans: tuple[ScanResult, ...]
    objective: Objective
    edits: int
    epochs: int
    seed: int
    depth_rule: Location
    finalists: int = 3
    budget: float | None = None
    budget_unit: Literal["share", "operations", "seconds"] = "share"
    first_step: float = FIRST_STEP
    to_learn: float = nan

    @property
    def full(self) -> Fidelity:
        """All of S, all epochs."""
        return Fidelity(FULL, self.edits, self.epochs)

    def of(self, location: Location | str) -> Candidate:
        """The candidate of that location. Raises UsageError where it is none."""
        there = {candidate.location: candidate for candidate in self.candidates}
        candidate = there.get(Location.parse(str(location)))
        if candidate is None:
            raise unknown("candidate", str(location), map(str, there))
        return candidate

    def request(self, location: Location | str, lr: float | None = None) -> TrialRequest:
        """A full trial there, at its starting rate where none is given."""
        at = Location.parse(str(location))
        return TrialRequest(at, self.of(at).lr if lr is None else lr, self.full)

    @property
    def drawn(self) -> tuple[Location, ...]:
        """All locations in an order drawn by the seed before anything was seen of them."""
        return tuple(candidate.location for candidate in shuffled(self.candidates, self.seed))


def at_rung(records: Sequence[TrialRecord], rung: str) -> list[TrialRecord]:
    """The records of a rung, in the order in which they were asked for."""
    return [record for record in records if record.trial.rung == rung]


def over(space: Space, records: Sequence[TrialRecord]) -> bool:
    """Whether the budget is spent; never, where there is none."""
    return left(space, records) <= 0


def left(space: Space, records: Sequence[TrialRecord]) -> float:
    """The share of the budget that is left, 1 at first and where there is none."""
    if space.budget is None:
        return 1.0
    if space.budget_unit == "seconds":
        return 1 - sum(record.seconds for record in records) / space.budget
    whole = space.budget
    if space.budget_unit == "share":
        whole *= sweep_flops(space, records)
    # Where nothing was run yet, nothing tells what a sweep takes.
    return 1 - spent(records) / whole if whole > 0 else 1.0


def spent(records: Sequence[TrialRecord]) -> float:
    """Floating-point operations of the trials."""
    return sum(record.flops for record in records)


def sweep_flops(space: Space, records: Sequence[TrialRecord]) -> float:
    """What every candidate at every rate in full would take, as far as the trials tell.

    A location that was not run in full is taken to cost as much more than its quick evaluation as
    those do that were run both ways, or as edits times epochs say where none was; one that was not
    run at all as the mean of the others. 0 where nothing was run.
    """
    full = _mean_flops(record for record in records if record.trial.rung == FULL)
    # By the first rung, whatever the strategy calls it: one without rungs has full trials alone.
    cheap = _mean_flops(record for record in records if record.trial.rung == _first_rung(records))
    both = [full[location] / cheap[location] for location in full if location in cheap]
    asked = [_work(record) for record in records if record.trial.rung == _first_rung(records)]
    ratio = fmean(both) if both else space.edits * space.epochs / fmean(asked) if asked else 1.0
    known = {**{location: ratio * flops for location, flops in cheap.items()}, **full}
    rates = [len(candidate.rates) for candidate in space.candidates]
    usual = fmean(known.values()) if known else 0.0
    costs = [known.get(candidate.location, usual) for candidate in space.candidates]
    return sum(cost * count for cost, count in zip(costs, rates, strict=True))


def _mean_flops(records: Iterable[TrialRecord]) -> dict[Location, float]:
    found: dict[Location, list[float]] = {}
    for record in records:
        found.setdefault(record.trial.location, []).append(record.flops)
    return {location: fmean(flops) for location, flops in found.items()}


def _first_rung(records: Sequence[TrialRecord]) -> str:
    return records[0].trial.rung if records else FULL


def _work(record: TrialRecord) -> int:
    return len(record.trial.edits) * record.trial.recipe.epochs
