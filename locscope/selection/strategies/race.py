"""Race: every candidate gets a cheap look, and only survivors get more.

Three rungs: a look at all candidates (few edits, few epochs, probabilities only), a second, longer
one at the best of them at all their rates, and full runs of a few. What goes on is what a forecast
of the full run puts first; scans decide between what the looks cannot tell apart, each weighed by
how well it predicted the looks. Two random locations and the depth rule's reach the top whatever
their looks. While nothing that was run in full keeps the bounds, the next in line are.
"""

from collections.abc import Iterable, Sequence

from locscope.records import TrialRecord
from locscope.selection.choice import best_per_location, ranked
from locscope.selection.forecast import Outlook, outlooks
from locscope.selection.hints import hinted
from locscope.selection.rates import wanted_rates
from locscope.selection.space import FULL, Ask, Fidelity, Space, at_rung, left

LOOK, SECOND = "look", "second look"
SURVIVORS = 8
GUESTS = 2
"""Random locations that always reach the top."""
RETRIES = 2
"""How often the next in line are run while nothing keeps the bounds."""


def first_look(space: Space) -> tuple[Ask, ...]:
    """Every candidate at a glance, at its highest rate.

    With so few steps a place needs a higher rate than in full to show what it can hold: of the
    three, this one ranked places best (`analyses/look_fidelity.py`).
    """
    look = Fidelity(LOOK, _share(space, 8, 10), min(5, space.epochs), glance=True)
    return tuple(Ask(one.location, max(one.rates), look) for one in space.candidates)


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """The next rung, as far as the budget goes."""
    looks, seconds = at_rung(records, LOOK), at_rung(records, SECOND)
    if not looks:
        return first_look(space)
    if not seconds and left(space, looks) > 0:
        return _second_look(space, looks)
    full = at_rung(records, FULL)
    line = hinted(space, outlooks(space, seconds or looks, records))
    if not full:
        # Without one full run there is nothing to recommend, whatever the budget.
        return _top(space, line) if left(space, records) > 0 else _first(space, line, seconds)
    if left(space, records) <= 0:
        return ()
    if ranked(full, space.aim)[0].violated:
        fresh = _not_run(line, full)
        return _asks(space, fresh[: space.finalists]) if _tries(space, full) else ()
    best = best_per_location(full, space.aim)[:2]
    return tuple(one for place in best for one in wanted_rates(space, place))


def _second_look(space: Space, looks: Sequence[TrialRecord]) -> tuple[Ask, ...]:
    """The survivors and the guests, at all their rates."""
    second = Fidelity(SECOND, _share(space, 4, 20), min(10, space.epochs), glance=True)
    line = hinted(space, outlooks(space, looks, looks))
    places = (*_places(line)[:SURVIVORS], *_guests(space))
    return tuple(
        Ask(place, rate, second)
        for place in dict.fromkeys(places)
        for rate in space.of(place).rates
    )


def _top(space: Space, line: Sequence[Outlook]) -> tuple[Ask, ...]:
    """The finalists and the guests, each at the rate that promises most."""
    places = (*_places(line)[: space.finalists], *_guests(space))
    best = {place: next(one for one in line if one.location == place) for place in places}
    return _asks(space, best.values())


def _first(
    space: Space, line: Sequence[Outlook], seconds: Sequence[TrialRecord]
) -> tuple[Ask, ...]:
    """The first in line; after the first look alone, whose rate is for few steps, as it starts."""
    first = line[0]
    rate = first.lr if seconds else space.of(first.location).lr
    return (Ask(first.location, rate, space.full),)


def _not_run(line: Sequence[Outlook], full: Sequence[TrialRecord]) -> list[Outlook]:
    run = {(one.trial.location, one.trial.recipe.lr) for one in full}
    return [one for one in line if (one.location, one.lr) not in run]


def _tries(space: Space, full: Sequence[TrialRecord]) -> bool:
    most = len(set(_guests(space))) + space.finalists * (1 + RETRIES)
    return len(full) < most


def _asks(space: Space, some: Iterable[Outlook]) -> tuple[Ask, ...]:
    return tuple(Ask(one.location, one.lr, space.full) for one in some)


def _guests(space: Space) -> tuple[str, ...]:
    return (*space.drawn[:GUESTS], space.depth_rule)


def _places(line: Sequence[Outlook]) -> list[str]:
    return list(dict.fromkeys(one.location for one in line))


def _share(space: Space, part: int, least: int) -> int:
    """So many edits: a part of S, but not too few to tell places apart."""
    return min(space.edits, max(least, space.edits // part))
