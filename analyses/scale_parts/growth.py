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


def by_count(found: Mapping[str, Stages]) -> dict[int, Stages]:
    """The stages of all groups of a count, one after the other, by names as `1000 texts`."""
    counts = dict.fromkeys(int(name.split()[0]) for name in found)
    return {n: [one for k in found if int(k.split()[0]) == n for one in found[k]] for n in counts}


def tables(found: Mapping[int, Stages]) -> list[str]:
    """Seconds of CPU, and the peak of memory above what the process held before (MiB)."""
    counts = sorted(found)
    return [
        *("", "## Seconds of CPU", "", *_table(found, counts, "seconds")),
        *("", "## Peak memory above that of the process with the model (MiB)", ""),
        *_table(found, counts, "peak"),
    ]


def _table(found: Mapping[int, Stages], counts: Sequence[int], key: str) -> list[str]:
    lines = [
        "| stage | " + " | ".join(f"{count:,}" for count in counts) + " | exponent | above |",
        "|---|" + "---:|" * (len(counts) + 2),
    ]
    names = dict.fromkeys(stage["name"] for count in counts for stage in found[count])
    rows = {
        name: {c: s[key] for c in counts for s in found[c] if s["name"] == name} for name in names
    }
    whole = [c for c in counts if all(c in values for values in rows.values())]
    total = sum if key == "seconds" else max
    rows["all"] = {c: total(s[key] for s in found[c]) for c in whole}
    for name, values in rows.items():
        fitted = [c for c in values if c >= FITTED]
        slope = exponent(fitted, [values[c] for c in fitted])
        said = "{:.2f}" if key == "seconds" else "{:,.0f}"
        cells = " | ".join(said.format(values[c]) if c in values else "–" for c in counts)
        above = _above(list(values), list(values.values()))
        lines.append(f"| {name} | {cells} | {slope:.2f} | {above:+.0%} |")
    return lines


def _above(counts: Sequence[int], values: Sequence[float]) -> float:
    """How far the last step is above the ratio of its counts; below it is negative."""
    if len(counts) < 2 or not values[-2]:
        return math.nan
    return values[-1] / values[-2] / (counts[-1] / counts[-2]) - 1
