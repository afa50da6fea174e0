"""Race: every candidate gets a quick evaluation, and only survivors get more.

Three rungs: a quick evaluation of all candidates (few edits, few epochs, probabilities only), a
second, longer one at the best of them at all their rates, and full runs of a few. What goes on is
what a forecast of the full run puts first; scans decide between locations that quick evaluations
cannot tell apart, each scan weighed by how well it predicted them. Two random locations and the
depth rule's are run in full whatever their quick evaluations say. Then what is beside the most
promising location gets a full run, for as long as one of those leads, and the most promising get
further rates; while nothing keeps the bounds the next in line get a run too. With a budget,
candidates are evaluated in the order that the scans give, until half of it is spent, and of those
that are run in full the first finalist comes first, then the three that always run, then the rest.
"""

from collections.abc import Sequence
from math import ceil, isnan

from locscope.locations import Location
from locscope.records import TrialRecord, default_batch
from locscope.selection.candidates import rounded
from locscope.selection.forecast import Forecast, forecasts
from locscope.selection.grids import keeps, leading
from locscope.selection.rates import as_known, settled_rates
from locscope.selection.scan_prior import prior, with_scan_prior
from locscope.selection.space import FULL, Fidelity, Space, TrialRequest, at_rung, left

RUNG_1, RUNG_2 = "rung 1", "rung 2"
QUICK_RUNGS = {RUNG_1: (8, 10, 5), RUNG_2: (4, 20, 10)}
"""Of a rung: one in so many edits of S, at least so many of them, and epochs."""
SURVIVORS = 8
LEARNS = 2.5
"""How many times over a quick evaluation is predicted to remove the loss of its edits: steps
that follow lower it less than the first, and 1.8 times was a tenth of the answers on
SmolLM2-135M."""
ALWAYS_RUN = 2
"""Random locations that always reach the top."""
TRIES = 4
"""Locations for each finalist after which no others are run in full where none kept the bounds."""
KEEP = {RUNG_1: 1 / 2, RUNG_2: 1 / 4, FULL: 0.0}
"""Share of the budget that a rung leaves for later ones."""
AT_ONCE = {RUNG_1: 8, RUNG_2: 3, FULL: 1}
"""Trials asked for at once where there is a budget to keep."""
Seen = Sequence[TrialRecord]
"""The trials so far, rung by rung."""


def quick_fidelity(rung: str, edits: int, epochs: int) -> Fidelity:
    """That of a rung of quick evaluations, where S has so many edits and tuning such epochs: a part
    of S, but not too few to tell locations apart."""
    part, least, most_epochs = QUICK_RUNGS[rung]
    return Fidelity(rung, min(edits, max(least, edits // part)), min(most_epochs, epochs), True)


def first_rung(space: Space) -> tuple[TrialRequest, ...]:
    """Every candidate at a quick evaluation, at a rate at which so few steps learn.

    A trial that learned nothing tells nothing of a location. Adam's first steps each lower the loss
    about as the first is predicted to, so the rate is set by what there is to learn: together the
    steps are predicted to lower the loss `LEARNS` times that far. Without a loss to go by it is the
    highest rate of the three (`analyses/look_fidelity.py`).
    """
    first = quick_fidelity(RUNG_1, space.edits, space.epochs)
    steps = first.epochs * ceil(first.edits / default_batch(first.edits))
    times = LEARNS * space.to_learn / steps / space.first_step
    return tuple(
        TrialRequest(
            candidate.location,
            max(candidate.rates) if isnan(times) else rounded(candidate.lr * times),
            first,
        )
        for candidate in space.candidates
    )


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """What the first phase that still wants something wants, as far as the budget goes."""
    # Rung by rung, whatever the order in which they were run.
    seen = [record for rung in KEEP for record in at_rung(records, rung)]
    full = at_rung(seen, FULL)
    phases = (_top, _beside, _rates, _retry) if full else (_unseen, _second_rung, _top)
    for phase in phases:
        if wanted := _portion(space, phase(space, seen), seen):
            return wanted
    # Without one full run there is nothing to recommend, whatever the budget.
    return () if full else _first(space, seen)


def _in_full(seen: Seen) -> frozenset[Location]:
    """Locations that were run in full."""
    return frozenset(record.trial.location for record in at_rung(seen, FULL))


def _quick(seen: Seen) -> list[TrialRecord]:
    """The trials of both quick rungs."""
    return [record for record in seen if record.trial.rung in QUICK_RUNGS]


def _any_kept(seen: Seen) -> bool:
    """Whether a full run kept the bounds."""
    return any(map(keeps, at_rung(seen, FULL)))


def _unseen(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """What has no quick evaluation yet; with a budget in the order that the scans give."""
    if at_rung(seen, RUNG_2):
        return ()
    tried = {record.trial.location for record in at_rung(seen, RUNG_1)}
    wanted = {ask.location: ask for ask in first_rung(space) if ask.location not in tried}
    order = wanted if space.budget is None else prior(space)
    return tuple(wanted[location] for location in order if location in wanted)


def _second_rung(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """The survivors and the locations that always run, at all their rates."""
    second = quick_fidelity(RUNG_2, space.edits, space.epochs)
    first = at_rung(seen, RUNG_1)
    line = with_scan_prior(space, forecasts(space, first, first))
    locations = (*list(_by_location(line))[:SURVIVORS], *_always_run(space))
    return tuple(
        TrialRequest(location, rate, second)
        for location in dict.fromkeys(locations)
        for rate in space.of(location).rates
    )


def _top(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """The finalists and the locations that always run, each at the rate that promises most.

    By quick evaluations alone: what full runs tell changes the ranking, but not who is run.
    """
    best = _by_location(_line(space, seen, _quick(seen)))
    (first, *others), there = list(best)[: space.finalists], _in_full(seen)
    return tuple(
        TrialRequest(
            location, best[location].lr if location in best else space.of(location).lr, space.full
        )
        for location in dict.fromkeys((first, *_always_run(space), *others))
        if location not in there
    )


def _beside(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """What is beside the best, as far from their starting rates as it is: the same part a layer
    below and above, and the part that holds it.

    Asked again while one of them leads: neighbours are alike, more than quick evaluations tell.
    """
    if _in_vain(space, seen):
        return ()
    best = leading(at_rung(seen, FULL), space.objective)[0]
    there = {candidate.location: candidate for candidate in space.candidates}
    here, in_full = best.location, _in_full(seen)
    near = [location for location in (here.moved(-1), here.moved(1), here.wider) if location]
    step = best.record.trial.recipe.lr / there[best.location].lr
    return tuple(
        TrialRequest(
            location,
            as_known(rounded(there[location].lr * step), there[location].rates),
            space.full,
        )
        for location in near
        if location in there and location not in in_full
    )


def _rates(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """The rates wanted next of the most promising locations, whether they keep the bounds or
    not."""
    return settled_rates(space, at_rung(seen, FULL))


def _retry(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """While nothing keeps the bounds, the next in line."""
    if _any_kept(seen) or _in_vain(space, seen):
        return ()
    line, there = _by_location(_line(space, seen, seen)), _in_full(seen)
    fresh = [forecast for location, forecast in line.items() if location not in there]
    fresh = fresh[: space.finalists]
    return tuple(TrialRequest(forecast.location, forecast.lr, space.full) for forecast in fresh)


def _in_vain(space: Space, seen: Seen) -> bool:
    """Whether nothing keeps the bounds after so many locations that others hardly will."""
    there = _in_full(seen) - set(_always_run(space))
    return len(there) >= TRIES * space.finalists and not _any_kept(seen)


def _first(space: Space, seen: Seen) -> tuple[TrialRequest, ...]:
    """The first in line; after rung 1 alone, whose rate is for few steps, at its starting rate."""
    first = _line(space, seen, _quick(seen))[0]
    rate = first.lr if at_rung(seen, RUNG_2) else space.of(first.location).lr
    return (TrialRequest(first.location, rate, space.full),)


def _portion(
    space: Space, wanted: Sequence[TrialRequest], records: Sequence[TrialRecord]
) -> tuple[TrialRequest, ...]:
    """What is wanted of a rung and not there yet, as far as the budget goes."""
    if not wanted:
        return ()
    rung = wanted[0].fidelity.rung
    if left(space, records) <= KEEP[rung]:
        return ()
    run = {(record.trial.location, record.trial.recipe.lr) for record in at_rung(records, rung)}
    missing = [ask for ask in wanted if (ask.location, ask.lr) not in run]
    return tuple(missing if space.budget is None else missing[: AT_ONCE[rung]])


def _line(space: Space, seen: Seen, records: Sequence[TrialRecord]) -> tuple[Forecast, ...]:
    """The trials of the latest quick rung, best first by what all `records` make of them."""
    latest = at_rung(seen, RUNG_2) or at_rung(seen, RUNG_1)
    return with_scan_prior(space, forecasts(space, latest, records))


def _always_run(space: Space) -> tuple[Location, ...]:
    return (*space.drawn[:ALWAYS_RUN], space.depth_rule)


def _by_location(line: Sequence[Forecast]) -> dict[Location, Forecast]:
    """Every location at the rate that promises most, in the order of the line."""
    best: dict[Location, Forecast] = {}
    for forecast in line:
        best.setdefault(forecast.location, forecast)
    return best
