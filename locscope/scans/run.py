"""Runs a scan of the table."""

import time
from collections.abc import Callable
from importlib import import_module

from locscope.errors import unknown
from locscope.records import ScanResult
from locscope.scans import SCANS, is_cheap
from locscope.scans.context import Findings, ScanContext

ScanFunction = Callable[[ScanContext], Findings]


def run_scan(name: str, context: ScanContext) -> ScanResult:
    """Runs the scan of that name, imported now; on some of the edits where it is not cheap."""
    if name not in SCANS:
        raise unknown("scan", name, SCANS)
    module, function = SCANS[name].function.split(":")
    scan: ScanFunction = getattr(import_module(module), function)
    began, everything = time.perf_counter(), len(context.edits)
    if not is_cheap(name):
        context = context.narrowed
    found = scan(context)
    drawn = (
        f"{len(context.edits)} of {everything} edits, drawn with seed {context.seed} (--requests)"
    )
    return ScanResult(
        descriptor=SCANS[name],
        scores=found.scores,
        requests=len(context.edits),
        usable=found.usable,
        seed=context.seed,
        seconds=time.perf_counter() - began,
        settings=found.settings,
        edits=context.edits,
        notes=found.notes if len(context.edits) == everything else (drawn, *found.notes),
        maps=found.maps,
        totals=found.totals,
    )
