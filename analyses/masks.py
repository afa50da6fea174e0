"""What to tune at a location: every recipe at the same location, on the same edits.

    python -m analyses.masks --location L8.mlp --seeds 3 --output reports/masks.md

Each recipe has its own best rate, found on seed 0 as a search finds it: around where Adam's first
step is predicted to change the loss by 0.3 nats, further while the best lies on the edge, and finer
where a bound cuts a gain off; then come the other seeds. A seed is an order of the edits and, of
`half`, `budget` and `lora`, another draw. Trials are kept in `--keep`, in a run folder: a run that
was stopped goes on where it was. `--limit 20 --recipes full,lora` is a short run; all of it takes
about five minutes on one core.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np

import locscope
from locscope.records import Trial, TrialRecord
from locscope.scoring.objectives import BALANCED
from locscope.selection.candidates import FIRST_STEP, rounded
from locscope.selection.choice import ranked
from locscope.selection.grids import climbed

OBJECTIVE = BALANCED
RECIPES = locscope.list_recipes()
MEASURES = ("reliability", "generalization", "locality", "perplexity_ratio", "kl", "retention")
SAME = 0.02
"""Scores that lie no further apart on any seed are called equal."""
QUESTIONS = {
    "half": "is half of the matrices enough, and kinder",
    "smallest": "can the weights that count for least take the edits in alone",
    "soft": "does it help to spare the units that general ability leans on",
    "budget": "is the location worth more than its number of weights",
    "lora": "is a low-rank change at this location as good as the whole matrices",
    "lofit": "can offsets to the heads of this layer say the edits",
    "all": "is tuning everywhere better than tuning here",
}


@dataclass(frozen=True)
class Arm:
    """A recipe at its best rate, over all seeds; `tried` are the rates on seed 0, sorted."""

    kind: str
    first: float
    tried: tuple[TrialRecord, ...]
    records: tuple[TrialRecord, ...]


def main() -> None:
    """Runs all recipes and writes the table and what it says."""
    args = _parse()
    kinds = [kind for kind in args.recipes.split(",") if kind] or list(RECIPES.index)
    folder = args.keep / f"{Path(args.model).name}-{Path(args.edits).stem}-{args.limit}"
    with locscope.open_experiment(
        args.model, args.edits, output=folder, limit=args.limit, progress=True
    ) as lab:
        arms = [arm_of(lab, args.location, kind, args.seeds) for kind in kinds]
        text = written(lab, args.location, arms)
    args.output.write_text(text, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--location", default="L8.mlp")
    parser.add_argument("--limit", type=int, default=79, help="edits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", default="", help="names with commas (default: all)")
    parser.add_argument("--keep", type=Path, default=Path("runs/masks"))
    parser.add_argument("--output", type=Path, default=Path("reports/masks.md"))
    return parser.parse_args()


def arm_of(lab: locscope.Experiment, location: str, kind: str, seeds: int) -> Arm:
    """A recipe's rates on seed 0, and its best one on the others; of arbitrary weights three."""
    start = rounded(lab.starting_rate(_trial(lab, location, kind, nan), FIRST_STEP))
    tried = climbed(
        start,
        lambda rates: list(lab.run([_trial(lab, location, kind, lr) for lr in rates], kind)),
        OBJECTIVE,
    )
    best = ranked(tried, OBJECTIVE)[0]
    count = max(3, seeds) if kind == "budget" else seeds
    others = [replace(best.trial, seed=seed) for seed in range(1, count)]
    tried = tuple(sorted(tried, key=lambda one: one.trial.recipe.lr))
    return Arm(kind, start, tried, (best, *lab.run(others, kind)))


def _trial(lab: locscope.Experiment, location: str, kind: str, lr: float) -> Trial:
    """A recipe on all edits, on seed 0."""
    ids = [edit.id for edit in lab.edits.edits]
    return lab.trial(location, lr, edits=ids, name="masks", seed=0, kind=kind)


def written(lab: locscope.Experiment, location: str, arms: Sequence[Arm]) -> str:
    """The report: a table, and in words how each recipe stands beside the whole matrices."""
    info, edits = lab.model.info, len(lab.edits.edits)
    weights = sum(
        cell.parameters
        for site in locscope.Location.parse(location).sites
        for cell in info.grid
        if cell.part == site.part and site.first <= cell.layer <= site.last
    )
    head = ("recipe", "trained", "lr", "of the start", "rates", "steps", "norm", "score")
    names = [*head, *MEASURES, "out of bounds", "s"]
    lines = [
        f"# What to tune at {location}: {info.name}, {edits} edits",
        "",
        f"{location} has {weights:,} weights. Means over seeds",
        "(standard deviation), every recipe at its own best rate, chosen on seed 0 of the same",
        "edits. So many numbers were `trained`; `of the start` is the best rate over that of equal",
        "predicted first steps, `norm` the Euclidean norm of the change.",
        "`python -m analyses.masks`",
        "",
        "| " + " | ".join(names) + " |",
        "|---" * len(names) + "|",
        *map(_row, arms),
        "",
        *_lessons(arms),
        "",
        "Scores at each rate on seed 0 (* out of bounds):",
        "",
        *map(_rates, arms),
    ]
    return "\n".join(lines) + "\n"


def _row(arm: Arm) -> str:
    best = arm.records[0]
    outside = sum(bool(record.violated) for record in arm.records)
    cells = [
        arm.kind,
        f"{best.parameter_count:,}",
        f"{best.trial.recipe.lr:.1e}",
        f"{best.trial.recipe.lr / arm.first:.2g}",
        str(len(arm.tried)),
        f"{np.mean([record.steps for record in arm.records]):.0f}",
        f"{np.mean([record.change_norm for record in arm.records]):.1f}",
        _spread([record.score for record in arm.records]),
        *(_spread([record.measure(name).value for record in arm.records]) for name in MEASURES),
        f"{outside} of {len(arm.records)}",
        f"{np.median([record.seconds for record in arm.records]):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _rates(arm: Arm) -> str:
    said = [f"{r.trial.recipe.lr:.1e} {r.score:.2f}{'*' * bool(r.violated)}" for r in arm.tried]
    return f"- {arm.kind}: {', '.join(said)}"


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})"


def _lessons(arms: Sequence[Arm]) -> list[str]:
    """One sentence for each recipe beside `full`, on the seeds that both have."""
    full = next((arm for arm in arms if arm.kind == "full"), None)
    if full is None:
        return []
    return [_lesson(arm, full) for arm in arms if arm is not full]


def _lesson(arm: Arm, full: Arm) -> str:
    pairs = list(zip(arm.records, full.records, strict=False))
    gaps = [mine.score - its.score for mine, its in pairs]
    share = arm.records[0].parameter_count / full.records[0].parameter_count
    moved = ", ".join(
        f"{name} {_mean(arm, name):.2f} for {_mean(full, name):.2f}" for name in MEASURES[:4]
    )
    question = QUESTIONS.get(arm.kind, RECIPES.loc[arm.kind, "note"])
    return (
        f"- {arm.kind} ({question}?): {_verdict(gaps)}, score {np.mean(gaps):+.3f} against full "
        f"({min(gaps):+.3f} to {max(gaps):+.3f} over {len(gaps)} seeds) with {share:.0%} of its "
        f"numbers; {moved}."
    )


def _verdict(gaps: Sequence[float]) -> str:
    if min(gaps) > SAME:
        return "better on every seed"
    if max(gaps) < -SAME:
        return "worse on every seed"
    return "as good" if max(map(abs, gaps)) <= SAME else "cannot tell"


def _mean(arm: Arm, name: str) -> float:
    return float(np.mean([record.measure(name).value for record in arm.records]))


if __name__ == "__main__":
    main()
