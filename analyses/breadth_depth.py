"""Breadth-first against depth-first tuning of the same edits at the same location.

    python -m analyses.breadth_depth --location L7.mlp.down --output reports/breadth_depth.md

Both at batch 1, then breadth-first in batches, each at its own best rate of a small grid (chosen on
seed 0) and then over five seeds, on edits of the bundled model. After LocFT-BF (arXiv 2509.22072,
section 2). Depth-first steps on one edit until its loss is below 1e-2, 25 times at most, and never
returns to it; breadth-first makes at most 25 passes over all.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np

import locscope
from locscope.records import Trial, TrialRecord

RATES = (0.01, 0.03, 0.1, 0.3)
"""Times the rate at which Adam's first step is predicted to change the loss by one nat."""
ONE_NAT = 1.0
MEASURES = ("reliability", "generalization", "locality", "perplexity_ratio", "kl", "retention")


@dataclass(frozen=True)
class Arm:
    """A way to go through the edits."""

    name: str
    order: str
    batch: int


ARMS = (
    Arm("depth-first, batch 1", "depth-first", 1),
    Arm("breadth-first, batch 1", "breadth-first", 1),
    Arm("breadth-first, batch 8", "breadth-first", 8),
    Arm("breadth-first, batch 25", "breadth-first", 25),
)


def main() -> None:
    """Runs all arms and writes the table."""
    args = _parse()
    with locscope.open_experiment(
        output=args.work / str(args.limit), limit=args.limit, progress=True
    ) as lab:
        rows = [_records(lab, args.location, arm, args.seeds) for arm in ARMS]
    text = _table(rows, args.location, args.limit)
    args.output.write_text(text, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--location", default="L7.mlp.down")
    parser.add_argument("--limit", type=int, default=100, help="edits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/breadth_depth"))
    parser.add_argument("--output", type=Path, default=Path("reports/breadth_depth.md"))
    return parser.parse_args()


def _records(
    lab: locscope.Experiment, location: str, arm: Arm, seeds: int
) -> tuple[TrialRecord, ...]:
    """An arm at its best rate of the grid, which seed 0 tells, on every seed."""
    start = lab.starting_rate(_trial(lab, location, ARMS[0], nan, 0), ONE_NAT)
    tried = lab.run([_trial(lab, location, arm, start * factor, 0) for factor in RATES], arm.name)
    best = max(tried, key=lambda record: record.score)
    lr = best.trial.recipe.lr
    others = [_trial(lab, location, arm, lr, seed) for seed in range(1, seeds)]
    return (best, *lab.run(others, arm.name))


def _trial(lab: locscope.Experiment, location: str, arm: Arm, lr: float, seed: int) -> Trial:
    return lab.trial(
        location,
        lr,
        edits=[edit.id for edit in lab.edits.edits],
        name=arm.name,
        seed=seed,
        batch=arm.batch,
        order=arm.order,
    )


def _table(rows: Sequence[Sequence[TrialRecord]], location: str, limit: int) -> str:
    lines = [
        f"# Breadth-first against depth-first: demo, {limit} edits, {location}",
        "",
        f"Mean over {len(rows[0])} seeds (standard deviation), each arm at its best rate of four.",
        "`python -m analyses.breadth_depth`",
        "",
        "| arm | lr | steps | score | " + " | ".join(MEASURES) + " | seconds |",
        "|---" * (len(MEASURES) + 5) + "|",
    ]
    lines += [_line(records) for records in rows]
    return "\n".join([*lines, "", *map(_against_first, [rows[0]] * len(rows[1:]), rows[1:])]) + "\n"


def _against_first(first: Sequence[TrialRecord], other: Sequence[TrialRecord]) -> str:
    """What an arm shows beside the first, in words."""
    steps = np.mean([r.steps for r in first]) / np.mean([r.steps for r in other])
    names = ("reliability", "generalization", "locality", "perplexity_ratio")
    pairs = [
        f"{name} {np.mean([r.measure(name).value for r in other]):.2f} for "
        f"{np.mean([r.measure(name).value for r in first]):.2f}"
        for name in names
    ]
    return (
        f"- {other[0].trial.rung} against {first[0].trial.rung}: {', '.join(pairs)}, in "
        f"{steps:.1f} times fewer steps."
    )


def _line(records: Sequence[TrialRecord]) -> str:
    cells = [records[0].trial.rung, f"{records[0].trial.recipe.lr:.1e}"]
    cells.append(f"{np.mean([record.steps for record in records]):.0f}")
    cells.append(_spread([record.score for record in records]))
    cells += [_spread([record.measure(name).value for record in records]) for name in MEASURES]
    cells.append(f"{np.mean([record.seconds for record in records]):.1f}")
    return "| " + " | ".join(cells) + " |"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})"


if __name__ == "__main__":
    main()
