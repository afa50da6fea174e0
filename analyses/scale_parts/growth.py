"""How seconds and memory grow with the number of edits, as Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FITTED = 3000
"""Edits from which on growth is fitted: below, what is done once weighs."""
Stages = list[dict[str, Any]]


def exponent(counts: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log value against log count; NaN with fewer than two counts or a zero."""
    if len(counts) < 2 or min(values) <= 0:
        return math.nan
    return float(np.polyfit(np.log(counts), np.log(values), 1)[0])


def tables(found: Mapping[int, Stages], floor: float) -> list[str]:
    """Seconds of CPU, and the peak of memory above what the process held before (MiB: `floor`)."""
    counts = sorted(found)
    return [
        *("", "## Seconds of CPU", "", *_table(found, counts, "seconds", 0.0)),
        *("", f"## Peak memory above the {floor:,.0f} MiB held before (MiB)", ""),
        *_table(found, counts, "peak", floor),
    ]


def _table(found: Mapping[int, Stages], counts: Sequence[int], key: str, floor: float) -> list[str]:
    lines = [
        "| stage | " + " | ".join(f"{count:,}" for count in counts) + " | exponent | above |",
        "|---|" + "---:|" * (len(counts) + 2),
    ]
    rows = {
        stage["name"]: [found[count][i][key] - floor for count in counts]
        for i, stage in enumerate(found[counts[0]])
    }
    rows["all"] = [
        sum(s[key] for s in found[c]) if key == "seconds" else max(s[key] for s in found[c]) - floor
        for c in counts
    ]
    for name, values in rows.items():
        fitted = [(c, v) for c, v in zip(counts, values, strict=True) if c >= FITTED]
        slope = exponent(*zip(*fitted, strict=True)) if fitted else math.nan
        above = _above(counts, values)
        cells = " | ".join(
            f"{value:.2f}" if key == "seconds" else f"{value:,.0f}" for value in values
        )
        lines.append(f"| {name} | {cells} | {slope:.2f} | {above:+.0%} |")
    return lines


def _above(counts: Sequence[int], values: Sequence[float]) -> float:
    """How far the last step is above the ratio of its counts; below it is negative."""
    if len(counts) < 2 or not values[-2]:
        return math.nan
    return values[-1] / values[-2] / (counts[-1] / counts[-2]) - 1
