"""Does following a recommendation to its end give what the search said?

    python -m analyses.applied [--models demo,DIR] [--edits demo,FILE] [--limit N] [--seeds 10]

For every model, edit set and seed: a search with its defaults, then `edit --config` with what it
recommends on the same edits, then `evaluate` of the saved model. The table has the bounds as the
search said them and as the edit did, and the largest difference of a measure between the three.
Finished runs lie in --work; writes reports/applied.md after each, where rows of other models, edits
and seeds stay as they are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from shutil import rmtree

import locscope
from locscope.records import Measure, Recommendation

PAGE = Path(__file__).parents[1] / "reports" / "applied.md"
HEAD = "| model, edits |"


@dataclass(frozen=True)
class Applied:
    """One search that was followed to its end; differences are the largest of any measure."""

    name: str
    seed: int
    found: Recommendation
    violated: tuple[str, ...]
    edit_apart: float
    evaluate_apart: float
    trials: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("runs/applied"))
    args = parser.parse_args()
    for model in args.models.split(","):
        for edits in args.edits.split(","):
            for seed in range(args.seeds):
                row = applied(model, edits, args.limit, seed, args.work)
                there = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
                PAGE.write_text(page((*rows_of(there), line(row))), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def applied(model: str, edits: str, limit: int | None, seed: int, work: Path) -> Applied:
    """Searches, edits and evaluates; a run that is there is not searched again."""
    name = f"{Path(model).name}, {Path(edits).stem}"
    folder = work / f"{Path(model).name}-{Path(edits).stem}-{limit}-{seed}"
    data = {"limit": limit, "seed": seed, "conflicts": "last"}
    run = locscope.search(model, edits, output=folder, progress=False, **data)
    assert run.recommendation is not None
    found = run.recommendation.record
    assert found.deployment is not None
    output = folder / "edited"
    rmtree(output, ignore_errors=True)
    edited = locscope.edit(model, edits, config=run, **data)
    edited.save(output)
    evaluated = locscope.evaluate(output)
    rmtree(output)
    stages = run.inputs.run.stages
    return Applied(
        name=name,
        seed=seed,
        found=found,
        violated=edited.record.violated,
        edit_apart=apart(found.deployment.measures, edited.record.measures),
        evaluate_apart=apart(found.deployment.measures, tuple(evaluated.measures.values())),
        trials=sum(stage.tasks for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
    )


def apart(one: Sequence[Measure], other: Sequence[Measure]) -> float:
    """The largest difference of a measure that both have; infinite where one lacks a number."""
    values = {measure.name: measure.value for measure in other}
    differences = []
    for measure in one:
        value = values.get(measure.name, nan)
        both_missing = isnan(measure.value) and isnan(value)
        differences.append(0.0 if both_missing else abs(measure.value - value))
    return max(float("inf") if isnan(value) else value for value in differences)


def rows_of(text: str) -> list[str]:
    """The rows of a page that was written before, without the head of their table."""
    return [row for row in text.splitlines() if row.startswith("| ") and not row.startswith(HEAD)]


def line(row: Applied) -> str:
    """One row of the table."""
    made, best = row.found.deployment, row.found.best
    assert made is not None
    said = "meets" if row.found.met else "misses"
    return (
        f"| {row.name} | {row.seed} | {made.location} | {made.edits} | {made.score:.3f} | "
        f"{best.score:.3f} | {said} | {'misses' if row.violated else 'meets'} | "
        f"{row.edit_apart:.1e} | {row.evaluate_apart:.1e} | {row.trials} | "
        f"{row.seconds / 60:.1f} |"
    )


def page(rows: Sequence[str]) -> str:
    """The report; of two rows of one model, edit set and seed the later."""
    latest = {tuple(row.split("|")[1:3]): row for row in rows}
    lines = [
        "# Recommendations, followed to their end\n",
        "Written by `python -m analyses.applied`. Each row is a search, `edit --config` with what",
        "it recommends on the same edits, and `evaluate` of the saved model. Apart: the largest",
        "difference of any measure from what the search said of its deployed trial. Minutes are",
        "those of a machine that others used too.\n",
        f"{HEAD} seed | location | edits | score | held out | said | edit | edit apart | "
        "evaluate apart | trials | minutes |",
        "|---|---:|---|---:|---:|---:|---|---|---:|---:|---:|---:|",
        *latest.values(),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
