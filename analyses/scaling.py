"""What tuning costs and holds against layers, width, edits and devices, up to 405B: on paper.

    python -m analyses.bench_scaling --json small.json
    python -m analyses.scaling --measured small.json

Operations and bytes follow from shapes (`scale_parts/cost.py`). What an operation takes is measured
at two ends: of small models on this machine (`bench_scaling`), where half of the shapes check what
the other half gives, and of a step of an 8B shape on an H100 (`reports/bench_gpu.md`). All figures
of larger models, of more edits and of other devices are computed. Writes `reports/scaling.md`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyses.scale_parts.cost import (
    Batch,
    Shape,
    graph_bytes,
    prefix_flops,
    step_flops,
    stream_bytes,
    tuned_bytes,
)
from analyses.scale_parts.paper import on_h100, on_paper

FLOAT32 = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("reports/scaling.md"))
    options = parser.parse_args()
    small = json.loads(options.measured.read_text(encoding="utf-8"))
    text = "\n".join([*_head(), *checked(small), *on_h100(), *on_paper()]) + "\n"
    print(text)
    options.output.write_text(text, encoding="utf-8")


def _head() -> list[str]:
    return [
        "# What tuning costs, from small models to 405B",
        "",
        "`python -m analyses.bench_scaling --json small.json`, then "
        "`python -m analyses.scaling --measured small.json`.",
        "",
        "**Measured**: the small models in the first table (this machine), and one step and one "
        "edit of an 8B shape on an H100 (`reports/bench_gpu.md`). **Computed**: all else, from "
        "shapes, those constants and published figures of devices. Nothing of 72B and 405B, of an "
        "H200 or of several devices was run.",
    ]


def fitted(small: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds an operation and a block's call; bytes a byte of the graph, and beside all."""
    rows = [row for one in small for row in _seconds(one)]
    weighted = np.array([np.array(features) / seconds for features, seconds in rows])
    time = np.linalg.lstsq(weighted, np.ones(len(rows)), rcond=None)[0]
    graphs = np.array([[_graph(one), 1e6] for one in small])
    rest = np.array([one["bytes"] - _known(one) for one in small])
    scale = 1 / np.array([one["bytes"] for one in small])
    return time, np.linalg.lstsq(graphs * scale[:, None], rest * scale, rcond=None)[0]


def _seconds(one: dict[str, Any]) -> list[tuple[list[float], float]]:
    """Operations and calls of blocks, with the seconds measured: of the prefix, of a step."""
    shape, layer, pieces = Shape(**one["shape"]), one["layer"], one["pieces"]
    batch = Batch(one["tokens"], one["scored"])
    # Forward and back.
    calls = 2 * pieces * (shape.layers - layer)
    return [
        ([prefix_flops(shape, batch.tokens, layer), pieces * layer], one["prefix"]),
        ([step_flops(shape, batch, layer), calls], one["step"]),
    ]


def _graph(one: dict[str, Any]) -> float:
    return graph_bytes(Shape(**one["shape"]), one["at_once"], one["layer"], FLOAT32)


def _known(one: dict[str, Any]) -> float:
    """The stream with its copy, and what a trial holds of the tuned weights."""
    shape = Shape(**one["shape"])
    return 2 * stream_bytes(shape, one["tokens"], FLOAT32) + tuned_bytes(shape, FLOAT32)


def checked(small: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The small end: what constants of some shapes say of others, beside what was measured."""
    time, memory = fitted(small["calibrating"])
    lines = [
        *("", "## The small end: predicted and measured", ""),
        f"Float32, one thread of this machine, seconds of CPU. Fitted on the first "
        f"{len(small['calibrating'])} shapes: {1 / time[0] / 1e9:.0f} GFLOP/s, "
        f"{1000 * time[1]:.1f} ms a block and batch, {memory[0]:.2f} bytes a byte of the graph "
        f"as counted, {memory[1]:.0f} MB besides. The others were not used to fit.",
        "",
        "| blocks x width | tuned layer | tokens | prefix (s) | measured | step (s) | measured "
        "| MB | measured |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ratios = list[float]()
    for group, those in small.items():
        for one in those:
            pairs = [(float(np.dot(f, time)), s) for f, s in _seconds(one)]
            held = _known(one) + float(np.dot([_graph(one), 1e6], memory))
            pairs.append((held / 1e6, one["bytes"] / 1e6))
            cells = " | ".join(f"{said:.3g} | {seen:.3g}" for said, seen in pairs)
            mark = "" if group == "calibrating" else " (checked)"
            name = f"{one['shape']['name']}{mark}"
            lines.append(f"| {name} | {one['layer']} | {one['tokens']:,} | {cells} |")
            ratios += [said / seen for said, seen in pairs] if mark else []
    low, high = min(ratios), max(ratios)
    return [*lines, "", f"Of the checked shapes, predicted over measured: {low:.2f} to {high:.2f}."]


if __name__ == "__main__":
    main()
