"""What a scan will cost, before it runs: forward passes over one request, from its table entry,
and how long one takes here."""

import ast
import operator
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import torch

from locscope.engine.blocks import run_blocks
from locscope.records import Descriptor
from locscope.scans.bench import ScanBench

TIMED = 16
"""Rows of the pass that is timed."""

_OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Sizes:
    """What a formula may name: of the model, of a request (mean `tokens` of a prompt, from the
    subject on, and `asked`, the rows about one edit), and the options `samples` and `steps`."""

    layers: float
    heads: float
    tokens: float
    asked: float
    samples: float
    steps: float


def passes(scan: Descriptor, sizes: Sizes) -> float:
    """Forward passes over one request (a backward pass counts as two); a ValueError for a formula
    that is not made of the names of `Sizes`, numbers and the four operations."""
    return _value(ast.parse(scan.passes, mode="eval").body, asdict(sizes))


def sizes_of(bench: ScanBench) -> Sizes:
    """The sizes that the costs of scans depend on."""
    asked = bench.exam.of(bench.edits)
    return Sizes(
        layers=bench.loaded.info.layers,
        heads=bench.loaded.info.heads,
        tokens=mean(len(one.target.prompt) for one in asked),
        asked=mean(1 + len(one.rephrases) + len(one.neighbours) for one in asked),
        samples=bench.options.samples,
        steps=bench.options.steps,
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


def _value(node: Any, names: dict[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, names), _value(node.right, names)
        return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"cannot compute '{ast.unparse(node)}' of a cost formula")
