"""Runs a scan of the table."""

import time
from collections.abc import Callable
from importlib import import_module

from locscope.errors import unknown
from locscope.records import ScanResult
from locscope.scans import SCANS, is_cheap
from locscope.scans.bench import Findings, ScanBench

ScanFunction = Callable[[ScanBench], Findings]


def run_scan(name: str, bench: ScanBench) -> ScanResult:
    """Runs the scan of that name, imported now; on some of the edits where it is not cheap."""
    if name not in SCANS:
        raise unknown("scan", name, SCANS)
    module, function = SCANS[name].function.split(":")
    scan: ScanFunction = getattr(import_module(module), function)
    began, everything = time.perf_counter(), len(bench.edits)
    if not is_cheap(name):
        bench = bench.narrowed
    found = scan(bench)
    drawn = f"{len(bench.edits)} of {everything} edits, drawn with seed {bench.seed} (--requests)"
    return ScanResult(
        descriptor=SCANS[name],
        scores=found.scores,
        requests=len(bench.edits),
        usable=found.usable,
        seed=bench.seed,
        seconds=time.perf_counter() - began,
        settings=found.settings,
        edits=bench.edits,
        notes=found.notes if len(bench.edits) == everything else (drawn, *found.notes),
        maps=found.maps,
        totals=found.totals,
    )
