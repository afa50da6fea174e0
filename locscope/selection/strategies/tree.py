"""Tree: coarse to fine, after CoFiTune (arXiv 2404.10306), whose tree search is not published.

First ranges of layers (quarters and neighbouring pairs of them) with the coarsest part, then the
other parts of the best range, then the single layers of the best range with the best part; each at
its starting rate, in full, and the rates of the best at last. A candidate that is not in the grid
is left out, so a grid without ranges begins with the single layers of the coarsest part.
"""

from collections.abc import Sequence

from locscope.records import TrialRecord
from locscope.selection.candidates import Candidate
from locscope.selection.choice import best_per_location
from locscope.selection.rates import settled_rates
from locscope.selection.space import FULL, Space, TrialRequest, at_rung, over


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """The next level of the tree below the best so far, until the budget is spent."""
    done = at_rung(records, FULL)
    if over(space, done):
        return ()
    tried = {record.trial.location for record in done}
    for level in (_ranges, _parts, _layers):
        wanted = [candidate for candidate in level(space, done) if candidate.location not in tried]
        if wanted:
            return tuple(
                TrialRequest(candidate.location, candidate.lr, space.full) for candidate in wanted
            )
    return settled_rates(space, done)


def _ranges(space: Space, done: Sequence[TrialRecord]) -> list[Candidate]:  # noqa: ARG001
    """Ranges of layers with the part that has most weights; where these leave layers out, its
    single layers too."""
    singles = [candidate for candidate in space.candidates if candidate.layer >= 0]
    coarsest = max(singles or space.candidates, key=lambda candidate: candidate.parameters).part
    pool = [candidate for candidate in space.candidates if candidate.part == coarsest]
    # Several layers have the layer -1.
    ranges = [candidate for candidate in pool if candidate.layer < 0]
    return ranges if _all_layers(ranges) >= _all_layers(space.candidates) else pool


def _parts(space: Space, done: Sequence[TrialRecord]) -> list[Candidate]:
    """The other parts of the best range."""
    first = {candidate.location for candidate in _ranges(space, done)}
    best = _best(space, [record for record in done if record.trial.location in first])
    return [
        candidate for candidate in space.candidates if _layers_of(candidate) == _layers_of(best)
    ]


def _layers(space: Space, done: Sequence[TrialRecord]) -> list[Candidate]:
    """The single layers of the best range with the best part."""
    first = {candidate.location for candidate in (*_ranges(space, done), *_parts(space, done))}
    best = _best(space, [record for record in done if record.trial.location in first])
    return [
        candidate
        for candidate in space.candidates
        if candidate.part == best.part
        and candidate.layer >= 0
        and _layers_of(candidate) <= _layers_of(best)
    ]


def _best(space: Space, records: Sequence[TrialRecord]) -> Candidate:
    return space.of(best_per_location(records, space.objective)[0].location)


def _all_layers(some: Sequence[Candidate]) -> frozenset[int]:
    return frozenset[int]().union(*map(_layers_of, some))


def _layers_of(candidate: Candidate) -> frozenset[int]:
    sites = candidate.location.sites
    return frozenset(layer for site in sites for layer in range(site.first, site.last + 1))
