"""What a scan will cost on this machine, before it runs."""

import time
from statistics import mean

import torch

from locscope.forward.blocks import run_blocks
from locscope.scans.context import ScanContext
from locscope.scans.passes import Sizes

TIMED = 16
"""Rows of the pass that is timed."""


def sizes_of(context: ScanContext) -> Sizes:
    """The sizes that the costs of scans depend on."""
    asked = context.suite.of(context.edits)
    return Sizes(
        layers=float(context.loaded.info.layers),
        heads=float(context.loaded.info.heads),
        tokens=float(mean(len(one.target.prompt) for one in asked)),
        asked=float(mean(1 + len(one.rephrases) + len(one.neighbours) for one in asked)),
        samples=1.0 if context.options.corruption == "swap" else float(context.options.samples),
        steps=float(max(1, context.options.steps)),
    )


@torch.no_grad()
def seconds_of_a_pass(context: ScanContext) -> float:
    """How long a forward pass over one edit's row takes in a batch, measured now."""
    rows = [one.target.index for one in context.suite.of(context.edits)][:TIMED]
    batch = context.prefix_cache.batch(rows)
    run_blocks(context.loaded.model, batch.ids)
    began = time.perf_counter()
    float(run_blocks(context.loaded.model, batch.ids).sum())
    return (time.perf_counter() - began) / len(rows)
