"""What scans may decide: the order of what quick evaluations cannot tell apart.

A scan's weight is its rank correlation with the quick evaluations, within parts, less what chance
gives (two standard errors); one that did no better has none, so a misleading scan costs nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan, sqrt

from locscope.locations import Location
from locscope.records import ScanResult, ScanScore
from locscope.scoring.ranks import mean_ranks
from locscope.scoring.statistics import spearman
from locscope.selection.forecast import Forecast
from locscope.selection.space import Space

NOISE = 0.02
"""Share of the best forecast within which two quick evaluations are not told apart."""


def with_scan_prior(space: Space, line: Sequence[Forecast]) -> tuple[Forecast, ...]:
    """The line with each value moved by no more than the noise of quick evaluations, best first."""
    weights = scan_priors(space, line)
    scale = NOISE * max((forecast.value for forecast in line), default=0.0)
    moved = [
        replace(forecast, value=forecast.value + scale * weights.get(forecast.location, 0.0))
        for forecast in line
    ]
    return tuple(
        sorted(moved, key=lambda forecast: (-forecast.value, forecast.location, forecast.lr))
    )


def scan_priors(space: Space, line: Sequence[Forecast]) -> dict[Location, float]:
    """For every location from -1 to 1 what the scans say of it, weighed by what they earned."""
    best: dict[Location, float] = {}
    for forecast in line:
        best[forecast.location] = max(best.get(forecast.location, 0.0), forecast.value)
    return _mean_ranks(space, best, lambda _, ranks: _earned(ranks, best))


def prior(space: Space) -> tuple[Location, ...]:
    """Locations in the order in which all scans, weighed alike, would try them."""
    locations = dict.fromkeys(candidate.location for candidate in space.candidates)
    said = _mean_ranks(space, locations, lambda scan, _: 1 / len(scan.variants))
    return tuple(sorted(said, key=lambda location: -said[location]))


def location_score(seen: Mapping[tuple[int, str], ScanScore], location: Location) -> float:
    """A scan's score of a location: the mean over its layers, NaN where it has not all of them."""
    cells = location.cells
    scores = [seen[cell].score if cell in seen else nan for cell in cells]
    return sum(scores) / len(scores) if scores else nan


def _mean_ranks(
    space: Space,
    locations: Iterable[Location],
    weigh: Callable[[ScanResult, Mapping[Location, float]], float],
) -> dict[Location, float]:
    """For every location the mean rank over all variants of all scans, weighed; 0 if none
    weighs."""
    total, heard = dict.fromkeys(locations, 0.0), 0.0
    for scan in space.scans:
        for variant in scan.variants:
            ranks = _ranks(scan, variant, total)
            weight = weigh(scan, ranks)
            heard += weight
            for location, rank in ranks.items():
                total[location] += weight * rank
    return {location: value / heard if heard else 0.0 for location, value in total.items()}


def _ranks(scan: ScanResult, variant: str, wanted: Iterable[Location]) -> dict[Location, float]:
    """From -1 to 1, within each part, as scans see parts on different scales."""
    found: dict[Location, float] = {}
    seen, sign = scan.of_locations(variant), scan.descriptor.sign
    for locations in _by_part(wanted).values():
        scores = {location: sign * location_score(seen, location) for location in locations}
        known = [location for location in locations if not isnan(scores[location])]
        if len(known) < 2:
            continue
        middle = (len(known) - 1) / 2
        ranks = mean_ranks([scores[location] for location in known]) - 1
        found |= {p: float(r - middle) / middle for p, r in zip(known, ranks, strict=True)}
    return found


def _earned(ranks: Mapping[Location, float], best: Mapping[Location, float]) -> float:
    """The mean correlation within parts, less two standard errors of one by chance."""
    parts = [[p for p in locations if p in ranks] for locations in _by_part(best).values()]
    pairs = [
        (len(locations), spearman([ranks[p] for p in locations], [best[p] for p in locations]))
        for locations in parts
    ]
    known = [(count, rank) for count, rank in pairs if not isnan(rank)]
    # A part of n locations has n - 1 degrees of freedom, by which it counts.
    free = sum(count - 1 for count, _ in known)
    if not free:
        return 0.0
    rank = sum((count - 1) * rank for count, rank in known) / free
    return max(0.0, rank - 2 / sqrt(free))


def _by_part(locations: Iterable[Location]) -> dict[str, list[Location]]:
    found: dict[str, list[Location]] = {}
    for location in locations:
        found.setdefault(str(location).partition(".")[2], []).append(location)
    return found
