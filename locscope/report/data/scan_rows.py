"""Data of the tables of scans: the best locations and heads of each, and all scans at a glance."""

from collections.abc import Iterable
from math import isnan

from locscope.locations import Location
from locscope.records import ScanResult, ScanScore
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import NOT_MEASURED, duration, interval, number

MOST_LOCATIONS = 10
SHOWN = 3
"""Locations of a scan that the table of all scans names."""


def location_of(score: ScanScore) -> str:
    """The name of the location that a score is of."""
    head = score.head if score.head >= 0 else None
    return str(Location.at(score.layer, score.part, head))


def best_locations(scan: ScanResult, variant: str, count: int) -> tuple[ScanScore, ...]:
    """The parts of layers that the scan recommends most, the best first."""
    return _best(scan, scan.of_locations(variant).values(), count)


def best_heads(scan: ScanResult, variant: str, count: int) -> tuple[ScanScore, ...]:
    """The heads that the scan recommends most, the best first: whole ones, as can be tuned."""
    heads = (s for s in scan.scores if s.head >= 0 and s.part == "attn" and not s.role)
    ours = (s for s in heads if s.variant == variant)
    return _best(scan, ours, count)


def _best(scan: ScanResult, scores: Iterable[ScanScore], count: int) -> tuple[ScanScore, ...]:
    measured = [score for score in scores if not isnan(score.score)]
    measured.sort(key=lambda score: -scan.descriptor.sign * score.score)
    return tuple(measured[:count])


def locations_table(name: str, scan: ScanResult, variant: str) -> Table:
    """The best locations of a variant of a scan; without rows where it has none."""
    return _best_table(name, "locations", best_locations(scan, variant, MOST_LOCATIONS), variant)


def heads_table(name: str, scan: ScanResult, variant: str) -> Table:
    """The best heads of a variant of a scan; without rows where it has none."""
    return _best_table(name, "heads", best_heads(scan, variant, MOST_LOCATIONS), variant)


def _best_table(name: str, what: str, scores: tuple[ScanScore, ...], variant: str) -> Table:
    rows = tuple(
        (TableCell(location_of(s)), figure_cell(s.score), TableCell(interval(s.low, s.high)))
        for s in scores
    )
    counts = sorted({s.count for s in scores if s.count})
    over = " to ".join(dict.fromkeys(str(count) for count in (*counts[:1], *counts[-1:])))
    note = f"over {over} requests" if counts else ""
    caption = f"Best {what}" + (f": {variant}" if variant else "")
    return Table(name, caption, ("location", "score", "interval"), rows, note)


def scans_table(scans: Iterable[ScanResult]) -> Table:
    """A row per variant of every scan, with the locations that it recommends most."""
    columns = ("scan", "variant", "usable", "best locations", "best heads", "time")
    rows = [row for scan in scans for row in _scan_rows(scan)]
    return Table("scans", "All scans", columns, tuple(rows))


def _scan_rows(scan: ScanResult) -> list[tuple[TableCell, ...]]:
    return [
        (
            TableCell(scan.descriptor.title),
            TableCell(variant),
            TableCell(f"{scan.usable} of {scan.requests}", alarm=not scan.usable),
            TableCell(_in_brief(best_locations(scan, variant, SHOWN)) or NOT_MEASURED),
            TableCell(_in_brief(best_heads(scan, variant, SHOWN))),
            TableCell(duration(scan.seconds), scan.seconds),
        )
        for variant in scan.variants or ("",)
    ]


def _in_brief(scores: Iterable[ScanScore]) -> str:
    return ", ".join(f"{location_of(score)} {number(score.score)}" for score in scores)
