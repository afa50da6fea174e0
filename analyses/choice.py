"""Does the choice on S and V take the finalist that is better on fresh edits?

    python -m analyses.choice [--model demo] [--seeds 20] [--locations A,B,...]

Every seed draws its own S, V and T. The locations are tuned on S at three rates each, the best
three are finalists, validated on V and chosen among as a search does. Then each finalist is tuned
on ten subsets of T, which nothing was chosen on: their mean is what the choice is held against.
Beside it: what S alone would have chosen. Trials lie in --work; writes reports/choice.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import locscope
from locscope.edits.splits import resample
from locscope.recommendation.finalists import asked_for, gathered
from locscope.records import TrialRecord
from locscope.scoring.bounds import shortfall
from locscope.selection.choice import best_per_location

PAGE = Path(__file__).parents[1] / "reports" / "choice.md"
LOCATIONS = "L5-9.mlp,L8-9.block,L8.mlp,L9.mlp,L5-9.block,L5-7.mlp,L2-7.mlp,L8.block"
SUBSETS, SHARE, APART = 10, 0.6, 0.01


@dataclass(frozen=True)
class Chosen:
    """Of one seed: the finalists, the one chosen on S and V first, and their means on fresh subsets
    (0 where a bound is broken there); `on_s` is the place of S's own first among them."""

    seed: int
    locations: tuple[str, ...]
    fresh: tuple[float, ...]
    on_s: int

    @property
    def behind(self) -> float:
        """What the choice lacks to the best of the finalists."""
        return max(self.fresh) - self.fresh[0]

    @property
    def s_behind(self) -> float:
        """What the choice of S alone lacks to it."""
        return max(self.fresh) - self.fresh[self.on_s]


def main() -> None:
    """Runs what is missing and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--locations", default=LOCATIONS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/choice"))
    args = parser.parse_args()
    locations = tuple(args.locations.split(","))
    rows = []
    for seed in range(args.seeds):
        with locscope.open_experiment(
            args.model,
            args.edits,
            output=args.work / f"{args.model}-{seed}",
            seed=seed,
            conflicts="last",
            parts=("mlp",),
            locations=locations,
        ) as lab:
            rows.append(chosen(lab, locations, seed))
        PAGE.write_text(page(rows), encoding="utf-8")
        print(rows[-1], flush=True)


def chosen(lab: locscope.Experiment, locations: Sequence[str], seed: int) -> Chosen:
    """One seed."""
    trials = [
        lab.trial(location, rate, choosing=True)
        for location in locations
        for rate in lab.space.of(location).rates
    ]
    on_s = lab.run(trials, "on S")
    finalists = lab.finalists(on_s)
    indices = resample(lab.split.report, lab.split.groups, SHARE, SUBSETS, seed)
    subsets = [[lab.edits.edits[i].id for i in subset] for subset in indices]
    fresh = [_fresh(lab, finalist.best.record, subsets) for finalist in finalists]
    order = [str(finalist.location) for finalist in finalists]
    first_on_s = best_per_location(on_s, lab.space.objective)[0]
    return Chosen(seed, tuple(order), tuple(fresh), order.index(str(first_on_s.location)))


def _fresh(lab: locscope.Experiment, best: TrialRecord, subsets: Sequence[Sequence[str]]) -> float:
    """The mean score on fresh subsets, where the bounds are kept on their mean; else 0."""
    location, rate = best.trial.location, best.trial.recipe.lr
    trials = [
        lab.trial(location, rate, edits=subset, name=f"fresh-{i}", batch=best.trial.recipe.batch)
        for i, subset in enumerate(subsets)
    ]
    records = lab.run(trials, "fresh")
    broken = shortfall(gathered(records), asked_for(lab.space.objective)) > 0
    return 0.0 if broken else fmean(record.score for record in records)


def page(rows: Sequence[Chosen]) -> str:
    """The report."""
    apart = [row for row in rows if max(row.fresh) - sorted(row.fresh)[-2] > APART]
    right = sum(row.behind <= APART for row in rows)
    lines = [
        "# Does the choice take the better finalist?",
        "",
        f"`python -m analyses.choice`: {len(rows)} seeds, three finalists each, held against their "
        f"means on {SUBSETS} fresh subsets of T (0 where these break a bound).",
        "",
        f"- chosen on S and V: at most {APART} behind the best in {right} of {len(rows)}; of the "
        f"{len(apart)} where the best is ahead of the next by more than {APART}, it was chosen in "
        f"{sum(row.behind == 0 for row in apart)}; {fmean(r.behind for r in rows):.4f} behind on "
        "average",
        f"- on S alone: {sum(row.s_behind <= APART for row in rows)} of {len(rows)}; "
        f"{sum(row.s_behind == 0 for row in apart)} of {len(apart)}; "
        f"{fmean(r.s_behind for r in rows):.4f} behind on average",
        "",
        "| seed | chosen, then the others | on fresh edits | behind | S alone behind |",
        "|---:|---|---|---:|---:|",
    ]
    for row in rows:
        scores = ", ".join(f"{score:.3f}" for score in row.fresh)
        lines.append(
            f"| {row.seed} | {', '.join(row.locations)} | {scores} | {row.behind:.3f} | "
            f"{row.s_behind:.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
