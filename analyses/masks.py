"""What to tune at a location: every recipe at the same location, on the same edits.

    python -m analyses.masks --location L8.mlp --seeds 3 --output reports/masks.md

Each recipe has its own best rate, found on seed 0 as a search finds it: around where Adam's first
step is predicted to change the loss by 0.3 nats, further while the best lies on the edge, and finer
where a bound cuts a gain off; then come the other seeds. A seed is an order of the edits and, of
`half`, `budget` and `lora`, another draw. Trials are kept in `--keep`, one file each: a run that
was stopped goes on where it was. `--limit 20 --recipes full,lora` is a short run; all of it takes
about five minutes on one core.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from locscope.cli.listener import listener
from locscope.edits import EditSet
from locscope.locations import Location
from locscope.models.parts import slices
from locscope.progress import Progress
from locscope.records import Recipe, Trial, TrialRecord, default_batch, dumps, loads
from locscope.runs.files import write_atomic
from locscope.scoring.objectives import BALANCED
from locscope.selection.candidates import FIRST_STEP, rounded
from locscope.selection.choice import ranked
from locscope.selection.grids import climbed
from locscope.settings import EditSettings
from locscope.tuning.recipes import RECIPES, recipe_named
from locscope.tuning.trial import run_trial, starting_rate
from locscope.tuning.workspace import Workspace
from locscope.workflows.workspace import load_edits, open_model, open_workspace

OBJECTIVE = BALANCED
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
class Ring:
    """Where all recipes meet: one location, one set of edits, one folder of records."""

    workspace: Workspace
    edit_set: EditSet
    location: str
    keep: Path
    progress: Progress

    def trial(self, kind: str, lr: float, seed: int) -> Trial:
        """A trial of a recipe on all edits."""
        edit_set = self.edit_set
        return Trial(
            location=self.location,
            recipe=Recipe(lr=lr, batch=default_batch(len(edit_set.edits)), kind=kind),
            edits=tuple(edit.id for edit in edit_set.edits),
            split="all",
            rung="masks",
            seed=seed,
            model=self.workspace.loaded.info.hash,
            edit_set=edit_set.fingerprint,
        )

    def run(self, trial: Trial) -> TrialRecord:
        """Its record, kept or run."""
        path = self.keep / f"{trial.id}.json"
        if path.exists():
            return loads(TrialRecord, path.read_text(encoding="utf-8"))
        record = run_trial(self.workspace, trial).record
        write_atomic(path, dumps(record))
        said = f"{trial.recipe.kind} lr {trial.recipe.lr:.2e} seed {trial.seed}"
        self.progress.say(f"{said}: score {record.score:.3f}, {record.seconds:.1f} s")
        return record


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
    kinds = [recipe_named(kind).name for kind in args.recipes.split(",") if kind] or list(RECIPES)
    args.keep.mkdir(parents=True, exist_ok=True)
    settings = EditSettings(model=args.model, edits=args.edits, limit=args.limit)
    progress = listener()
    edit_set = load_edits(settings)
    workspace = open_workspace(settings, open_model(settings), edit_set, progress)
    ring = Ring(workspace, edit_set, args.location, args.keep, progress)
    arms = [arm_of(ring, kind, args.seeds) for kind in kinds]
    text = written(ring, arms)
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


def arm_of(ring: Ring, kind: str, seeds: int) -> Arm:
    """A recipe's rates on seed 0, and its best one on the others; of arbitrary weights three."""
    first = ring.trial(kind, 1.0, 0)
    start = rounded(starting_rate(ring.workspace, first, FIRST_STEP))
    tried = climbed(
        start, lambda rates: [ring.run(ring.trial(kind, lr, 0)) for lr in rates], OBJECTIVE
    )
    best = ranked(tried, OBJECTIVE)[0]
    count = max(3, seeds) if kind == "budget" else seeds
    others = [replace(best.trial, seed=seed) for seed in range(1, count)]
    tried = tuple(sorted(tried, key=lambda one: one.trial.recipe.lr))
    return Arm(kind, start, tried, (best, *map(ring.run, others)))


def written(ring: Ring, arms: Sequence[Arm]) -> str:
    """The report: a table, and in words how each recipe stands beside the whole matrices."""
    info, edits = ring.workspace.loaded.info, len(ring.edit_set.edits)
    location = slices(ring.workspace.loaded.model, Location.parse(ring.location))
    head = ("recipe", "trained", "lr", "of the start", "rates", "steps", "norm", "score")
    names = [*head, *MEASURES, "out of bounds", "s"]
    lines = [
        f"# What to tune at {ring.location}: {info.name}, {edits} edits",
        "",
        f"{ring.location} has {sum(piece.count for piece in location):,} weights. Means over seeds",
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
    question = QUESTIONS.get(arm.kind, RECIPES[arm.kind].note)
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
