"""What a scan will cost on this machine, before it runs."""

import time
from statistics import mean

import torch

from locscope.forward.blocks import run_blocks
from locscope.scans.bench import ScanBench
from locscope.scans.passes import Sizes

TIMED = 16
"""Rows of the pass that is timed."""


def sizes_of(bench: ScanBench) -> Sizes:
    """The sizes that the costs of scans depend on."""
    asked = bench.exam.of(bench.edits)
    return Sizes(
        layers=float(bench.loaded.info.layers),
        heads=float(bench.loaded.info.heads),
        tokens=float(mean(len(one.target.prompt) for one in asked)),
        asked=float(mean(1 + len(one.rephrases) + len(one.neighbours) for one in asked)),
        samples=1.0 if bench.options.corruption == "swap" else float(bench.options.samples),
        steps=float(max(1, bench.options.steps)),
    )


@torch.no_grad()
def seconds_of_a_pass(bench: ScanBench) -> float:
    """How long a forward pass over one edit's row takes in a batch, measured now."""
    rows = [one.target.index for one in bench.exam.of(bench.edits)][:TIMED]
    batch = bench.trunk.batch(rows)
    run_blocks(bench.loaded.model, batch.ids)
    began = time.perf_counter()
    float(run_blocks(bench.loaded.model, batch.ids).sum())
    return (time.perf_counter() - began) / len(rows)
