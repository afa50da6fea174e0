"""Runs a scan of the table, and measures beforehand what it will cost on this machine."""

import time
from collections.abc import Callable
from statistics import mean

import torch

from locscope.errors import UsageError, unknown
from locscope.forward.blocks import run_blocks
from locscope.models.parts import structures
from locscope.plugins import function_of
from locscope.records import ScanResult
from locscope.scans import SCANS, is_cheap
from locscope.scans.context import Findings, ScanContext

TIMED = 16
"""Rows of the pass that is timed."""


def run_scan(name: str, context: ScanContext) -> ScanResult:
    """Imports and runs the scan of that name, on a draw of the edits where it is not cheap.

    Raises UsageError where the table has no such scan, or one that cannot read such a model.
    """
    if name not in SCANS:
        raise unknown("scan", name, SCANS)
    _require_readable(name, context)
    scan: Callable[[ScanContext], Findings] = function_of(SCANS[name].function)
    began, total = time.perf_counter(), len(context.edits)
    # Costly ones alone are narrowed: the others go by more edits for next to nothing.
    if not is_cheap(name):
        context = context.narrowed
    findings = scan(context)
    drawn = f"{len(context.edits)} of {total} edits, drawn with seed {context.seed} (--requests)"
    return ScanResult(
        descriptor=SCANS[name],
        scores=findings.scores,
        requests=len(context.edits),
        usable=findings.usable,
        seed=context.seed,
        seconds=time.perf_counter() - began,
        settings=findings.settings,
        edits=context.edits,
        notes=findings.notes if len(context.edits) == total else (drawn, *findings.notes),
        maps=findings.maps,
        totals=findings.totals,
    )


def _require_readable(name: str, context: ScanContext) -> None:
    # Before anything runs: what does not fit may also pass, and give numbers of something else.
    model = context.loaded.model
    unread = [structure for structure in structures(model) if structure in SCANS[name].blind]
    if unread:
        raise UsageError(
            f"{name} cannot read {' and '.join(unread)}, which this {model.config.model_type} "
            "model has: leave it out of --scans, or take --scans weight-gradient"
        )


def sizes_of(context: ScanContext) -> dict[str, float]:
    """The sizes on which the costs of scans depend, by the names that their formulas use."""
    questions = context.suite.of(context.edits)
    options, packed = context.options, context.suite.packed
    own, neutral = (
        int(packed.lengths[list(rows)].sum())
        for rows in ([edit.target.index for edit in questions], context.suite.neutral.texts)
    )
    return {
        "layers": float(context.loaded.info.layers),
        "heads": float(context.loaded.info.heads),
        "tokens": float(mean(len(edit.target.prompt) for edit in questions)),
        "asked": float(mean(1 + len(edit.rephrases) + len(edit.neighbours) for edit in questions)),
        "neutral": neutral / own,
        # A swap corrupts a prompt in one way; only noise is sampled.
        "samples": 1.0 if options.corruption == "swap" else float(options.samples),
        "steps": float(max(1, options.steps)),
    }


@torch.no_grad()
def seconds_of_a_pass(context: ScanContext) -> float:
    """The seconds that a forward pass over one edit's row takes in a batch, measured now."""
    rows = [edit.target.index for edit in context.suite.of(context.edits)][:TIMED]
    batch = context.prefix_cache.batch(rows)
    # Once untimed: the first pass allocates memory and, on a GPU, compiles kernels.
    run_blocks(context.loaded.model, batch.ids)
    began = time.perf_counter()
    # A number read on the host waits for the device, which works asynchronously.
    float(run_blocks(context.loaded.model, batch.ids).sum())
    return (time.perf_counter() - began) / len(rows)
