"""What the page says of every scan beside its heatmaps."""

from dataclasses import dataclass

from locscope.records import ScanResult
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.rows import Table
from locscope.report.data.scan_rows import (
    SHOWN,
    best_locations,
    heads_table,
    location_of,
    locations_table,
)
from locscope.report.data.words import duration, sentence
from locscope.report.draw.gallery import outcome_panel, scan_panel


@dataclass(frozen=True)
class ScanSection:
    """A scan in words: `summary` stands beside its title while it is folded up.

    `reading` says how to read it, `facts` how it was made, `notes` what to know of this run of it;
    `panel` and `outcome` name its figures; `variants` has, by variant, the tables of its best
    locations and of its best heads where there are any.
    """

    title: str
    summary: str
    reading: str
    facts: tuple[str, ...]
    notes: tuple[str, ...]
    panel: str
    outcome: str
    variants: dict[str, tuple[Table, ...]]


def scan_sections(inputs: ReportInputs) -> tuple[ScanSection, ...]:
    """A section per scan, in the order in which they ran."""
    return tuple(_section(scan, index) for index, scan in enumerate(inputs.scans))


def _section(scan: ScanResult, index: int) -> ScanSection:
    return ScanSection(
        scan.descriptor.title,
        _in_brief(scan),
        sentence(scan.descriptor.note),
        _facts(scan),
        tuple(map(sentence, scan.notes)),
        scan_panel(index),
        outcome_panel(index),
        {name: _tables(scan, name, f"{index}-{n}") for n, name in enumerate(scan.variants)},
    )


def _in_brief(scan: ScanResult) -> str:
    if not scan.variants:
        return "no scores"
    best = ", ".join(location_of(s) for s in best_locations(scan, scan.variants[0], SHOWN))
    return f"{best or 'no score for a location'} · {duration(scan.seconds)}"


def _facts(scan: ScanResult) -> tuple[str, ...]:
    facts = (f"{scan.usable} of {scan.requests} edits usable", duration(scan.seconds))
    facts = (*facts, f"seed {scan.seed}", f"source: {scan.descriptor.source}")
    return (*facts, f"settings: {scan.settings}") if scan.settings else facts


def _tables(scan: ScanResult, variant: str, name: str) -> tuple[Table, ...]:
    tables = (
        locations_table(f"places-{name}", scan, variant),
        heads_table(f"heads-{name}", scan, variant),
    )
    return tuple(table for table in tables if table.rows)
