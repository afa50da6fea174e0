"""Localisation scans: a table, one file each.

A scan is a function from a `ScanBench` to scores of places. A new one is one file here and one
entry in `SCANS`; results carry the entry, so a report needs nothing of this package.
"""

import time
from collections.abc import Callable
from importlib import import_module

from locscope.errors import unknown
from locscope.records import Descriptor, ScanResult, ScanScore
from locscope.scans.bench import ScanBench

ScanFunction = Callable[[ScanBench], tuple[ScanScore, ...]]

SCANS: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        Descriptor(
            name="weight-gradient",
            title="Weight gradient",
            note="how strongly the loss of the edits pulls at each place's weights before any "
            "tuning; bright: a small step there changes the edits most",
            source="first-order saliency; |w g| after Molchanov et al. (arXiv 1906.10771)",
            function="locscope.scans.weight_gradient:scan",
            cost="one forward and one backward pass over the edits",
        ),
    )
}


def run_scan(name: str, bench: ScanBench) -> ScanResult:
    """Runs a scan of the table, imported now."""
    if name not in SCANS:
        raise unknown("scan", name, SCANS)
    module, function = SCANS[name].function.split(":")
    scan: ScanFunction = getattr(import_module(module), function)
    began = time.perf_counter()
    scores = scan(bench)
    return ScanResult(
        descriptor=SCANS[name],
        scores=scores,
        requests=len(bench.edits),
        usable=max((score.count for score in scores), default=0),
        seed=bench.seed,
        seconds=time.perf_counter() - began,
    )
