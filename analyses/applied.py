"""Does following a recommendation to its end give what the search said?

    python -m analyses.applied [--models demo,DIR] [--edits demo,FILE] [--limit N] [--seeds 10]

For every model, edit set and seed: a search with its defaults, then `edit --config` with what it
recommends on the same edits, then `evaluate` of the saved model. The table has the bounds as the
search said them and as the edit did, and the largest difference of a measure between the three.
Finished runs lie in --work; writes reports/applied.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from shutil import rmtree

from locscope.progress import Silent
from locscope.records import Measure, Recommendation
from locscope.runs.folder import read_info
from locscope.runs.store import read_record
from locscope.settings import EditSettings, EvaluateSettings, SearchSettings
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.evaluate import evaluate, plan_evaluate
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search

PAGE = Path(__file__).parents[1] / "reports" / "applied.md"


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
    rows = [
        applied(model, edits, args.limit, seed, args.work)
        for model in args.models.split(",")
        for edits in args.edits.split(",")
        for seed in range(args.seeds)
    ]
    text = _page(rows)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def applied(model: str, edits: str, limit: int | None, seed: int, work: Path) -> Applied:
    """Searches, edits and evaluates; a run that is there is not searched again."""
    settings = SearchSettings(model=model, edits=edits, limit=limit, seed=seed, conflicts="last")
    name = f"{Path(model).name}, {Path(edits).stem}"
    folder = work / f"{Path(model).name}-{Path(edits).stem}-{limit}-{seed}"
    search(plan_search(settings, folder), Silent())
    found = read_record(folder, "recommendation", "final", Recommendation)
    assert found is not None
    assert found.deployment is not None
    output = folder / "edited"
    rmtree(output, ignore_errors=True)
    record = edit(plan_edit(EditSettings(), folder, output), Silent())
    evaluated = evaluate(plan_evaluate(EvaluateSettings(model=str(output))), Silent())
    rmtree(output)
    info = read_info(folder)
    stages = info.stages if info else ()
    return Applied(
        name=name,
        seed=seed,
        found=found,
        violated=record.violated,
        edit_apart=apart(found.deployment.measures, record.measures),
        evaluate_apart=apart(found.deployment.measures, evaluated),
        trials=sum(one.tasks for one in stages),
        seconds=sum(one.seconds for one in stages),
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


def _page(rows: Sequence[Applied]) -> str:
    lines = [
        "# Recommendations, followed to their end\n",
        "Written by `python -m analyses.applied`. Each row is a search, `edit --config` with what",
        "it recommends on the same edits, and `evaluate` of the saved model. Apart: the largest",
        "difference of any measure from what the search said of its deployed trial.\n",
        "| model, edits | seed | location | edits | score | held out | said | edit | edit apart | "
        "evaluate apart | trials | minutes |",
        "|---|---:|---|---:|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        made, best = row.found.deployment, row.found.best
        assert made is not None
        said = "meets" if row.found.met else "misses"
        lines.append(
            f"| {row.name} | {row.seed} | {made.location} | {made.edits} | {made.score:.3f} | "
            f"{best.score:.3f} | {said} | {'misses' if row.violated else 'meets'} | "
            f"{row.edit_apart:.1e} | {row.evaluate_apart:.1e} | {row.trials} | "
            f"{row.seconds / 60:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
