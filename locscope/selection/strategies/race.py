"""Race: every candidate gets a cheap look, and only survivors get more.

Three rungs: a look at all candidates (few edits, few epochs, probabilities only), a second, longer
one at the best of them at all their rates, and full runs of a few. What goes on is what a forecast
of the full run puts first; scans decide between what the looks cannot tell apart, each weighed by
how well it predicted the looks. Two random locations and the depth rule's reach the top whatever
their looks. Then what is beside the most promising place gets a full run, for as long as one of
those leads, and the most promising get further rates; while nothing keeps the bounds the next in
line get a run too. With a budget, candidates are looked at in the order that the scans give, until
half of it is spent, and of those at the top the first finalist is run, the three guests, then the
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, isnan

from locscope.locations import Location
from locscope.records import TrialRecord, default_batch
from locscope.selection.candidates import rounded
from locscope.selection.forecast import Outlook, outlooks
from locscope.selection.grids import keeps, leading
from locscope.selection.rates import as_known, settled_rates
from locscope.selection.scan_prior import hinted, prior
from locscope.selection.space import FULL, Ask, Fidelity, Space, at_rung, left

LOOK, SECOND = "look", "second look"
SURVIVORS = 8
LEARNS = 2.5
"""How often over the steps of a look are predicted to remove the loss of its edits: steps that
follow lower it less than the first, and 1.8 times was a tenth of the answers on SmolLM2-135M."""
GUESTS = 2
"""Random locations that always reach the top."""
TRIES = 4
"""Places for each finalist after which no others are run in full where none kept the bounds."""
KEEP = {LOOK: 1 / 2, SECOND: 1 / 4, FULL: 0.0}
"""Share of the budget that a rung leaves for later ones."""
AT_ONCE = {LOOK: 8, SECOND: 3, FULL: 1}
"""Trials asked for at once where there is a budget to keep."""


def first_look(space: Space) -> tuple[Ask, ...]:
    """Every candidate at a glance, at a rate at which so few steps learn.

    A look that learned nothing tells nothing of a location. Adam's first steps each lower the loss
    about as the first is predicted to, so the rate is set by what there is to learn: together the
    steps are predicted to lower the loss `LEARNS` times that far. Without a loss to go by it is the
    highest rate of the three (`analyses/look_fidelity.py`).
    """
    look = Fidelity(LOOK, _share(space, 8, 10), min(5, space.epochs), glance=True)
    steps = look.epochs * ceil(look.edits / default_batch(look.edits))
    times = LEARNS * space.to_learn / steps / space.first_step
    return tuple(
        Ask(one.location, max(one.rates) if isnan(times) else rounded(one.lr * times), look)
        for one in space.candidates
    )


@dataclass(frozen=True)
class Seen:
    """The trials so far, by rung."""

    looks: Sequence[TrialRecord]
    seconds: Sequence[TrialRecord]
    full: Sequence[TrialRecord]

    @cached_property
    def in_full(self) -> frozenset[str]:
        """Locations that were run in full."""
        return frozenset(record.trial.location for record in self.full)

    @cached_property
    def any_kept(self) -> bool:
        """Whether a full run kept the bounds."""
        return any(map(keeps, self.full))

    @property
    def glances(self) -> tuple[TrialRecord, ...]:
        """The trials of both looks."""
        return (*self.looks, *self.seconds)

    @property
    def all(self) -> tuple[TrialRecord, ...]:
        """The trials of all rungs."""
        return (*self.glances, *self.full)


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """What the first phase that still wants something wants, as far as the budget goes."""
    seen = Seen(*(at_rung(records, rung) for rung in KEEP))
    phases = (_top, _beside, _rates, _retry) if seen.full else (_unseen, _second_look, _top)
    for phase in phases:
        if wanted := _portion(space, phase(space, seen), seen.all):
            return wanted
    # Without one full run there is nothing to recommend, whatever the budget.
    return () if seen.full else _first(space, seen)


def _unseen(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """Looks at what nobody looked at; with a budget in the order that the scans give."""
    if seen.seconds:
        return ()
    looked = {record.trial.location for record in seen.looks}
    wanted = {ask.location: ask for ask in first_look(space) if ask.location not in looked}
    order = wanted if space.budget is None else prior(space)
    return tuple(wanted[place] for place in order if place in wanted)


def _second_look(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """The survivors and the guests, at all their rates."""
    second = Fidelity(SECOND, _share(space, 4, 20), min(10, space.epochs), glance=True)
    line = hinted(space, outlooks(space, seen.looks, seen.looks))
    places = (*list(_by_place(line))[:SURVIVORS], *_guests(space))
    return tuple(
        Ask(place, rate, second)
        for place in dict.fromkeys(places)
        for rate in space.of(place).rates
    )


def _top(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """The finalists and the guests, each at the rate that promises most.

    By the looks alone: what full runs tell changes the line, but not who has a place here.
    """
    best = _by_place(_line(space, seen, seen.glances))
    first, *others = list(best)[: space.finalists]
    return tuple(
        Ask(place, best[place].lr if place in best else space.of(place).lr, space.full)
        for place in dict.fromkeys((first, *_guests(space), *others))
        if place not in seen.in_full
    )


def _beside(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """What is beside the best, as far from their starting rates as it is: the same part a layer
    below and above, and the part that holds it.

    Asked again while one of them leads: neighbours are alike, more so than looks can tell.
    """
    if _in_vain(space, seen):
        return ()
    best = leading(seen.full, space.aim)[0]
    there = {one.location: one for one in space.candidates}
    here = Location.parse(best.location)
    near = [str(place) for place in (here.moved(-1), here.moved(1), here.wider) if place]
    step = best.record.trial.recipe.lr / there[best.location].lr
    return tuple(
        Ask(place, as_known(rounded(there[place].lr * step), there[place].rates), space.full)
        for place in near
        if place in there and place not in seen.in_full
    )


def _rates(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """The rates wanted next of the most promising places, whether they keep the bounds or not."""
    return settled_rates(space, seen.full)


def _retry(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """While nothing keeps the bounds, the next in line."""
    if seen.any_kept or _in_vain(space, seen):
        return ()
    line = _by_place(_line(space, seen, seen.all))
    fresh = [one for place, one in line.items() if place not in seen.in_full][: space.finalists]
    return tuple(Ask(one.location, one.lr, space.full) for one in fresh)


def _in_vain(space: Space, seen: Seen) -> bool:
    """Whether nothing keeps the bounds after so many places that others hardly will."""
    there = seen.in_full - set(_guests(space))
    return len(there) >= TRIES * space.finalists and not seen.any_kept


def _first(space: Space, seen: Seen) -> tuple[Ask, ...]:
    """The first in line; after the first look alone, whose rate is for few steps, as it starts."""
    first = _line(space, seen, seen.glances)[0]
    rate = first.lr if seen.seconds else space.of(first.location).lr
    return (Ask(first.location, rate, space.full),)


def _portion(
    space: Space, wanted: Sequence[Ask], records: Sequence[TrialRecord]
) -> tuple[Ask, ...]:
    """What is wanted of a rung and not there yet, as far as the budget goes."""
    if not wanted:
        return ()
    rung = wanted[0].fidelity.rung
    if left(space, records) <= KEEP[rung]:
        return ()
    run = {(one.trial.location, one.trial.recipe.lr) for one in at_rung(records, rung)}
    missing = [ask for ask in wanted if (ask.location, ask.lr) not in run]
    return tuple(missing if space.budget is None else missing[: AT_ONCE[rung]])


def _line(space: Space, seen: Seen, records: Sequence[TrialRecord]) -> tuple[Outlook, ...]:
    """What the latest look saw, best first by what all `records` make of it."""
    return hinted(space, outlooks(space, seen.seconds or seen.looks, records))


def _guests(space: Space) -> tuple[str, ...]:
    return (*space.drawn[:GUESTS], space.depth_rule)


def _by_place(line: Sequence[Outlook]) -> dict[str, Outlook]:
    """Every place at the rate that promises most, in the order of the line."""
    best: dict[str, Outlook] = {}
    for one in line:
        best.setdefault(one.location, one)
    return best


def _share(space: Space, part: int, least: int) -> int:
    """So many edits: a part of S, but not too few to tell places apart."""
    return min(space.edits, max(least, space.edits // part))
