"""Does the choice on S and V take the finalist that is better on fresh edits?

    python -m analyses.choice [--model demo] [--seeds 20] [--locations A,B,...]

Every seed draws its own S, V and T. The locations are tuned on S at three rates each, the best
three are finalists, validated on V and chosen among as a search does. Then each finalist is tuned
on ten subsets of T, which nothing was chosen on: their mean is what the choice is held against.
Beside it: what S alone would have chosen. Trials lie in --work; writes reports/choice.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from locscope.edits.splits import resample
from locscope.progress import Silent
from locscope.recommendation.finalists import asked_for, gathered
from locscope.records import Trial
from locscope.runs.folder import open_run
from locscope.scoring.bounds import shortfall
from locscope.selection.choice import Best, best_per_location
from locscope.selection.space import TrialRequest
from locscope.settings import SearchSettings, settings_of
from locscope.workflows.search.holdout import validate
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.select import scan_s, space_of
from locscope.workflows.search.stages import Evidence, trials_of

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
    given = {"model": args.model, "edits": args.edits, "conflicts": "last", "parts": ("mlp",)}
    rows = []
    for seed in range(args.seeds):
        settings = settings_of(
            SearchSettings, given | {"seed": seed, "locations": tuple(args.locations.split(","))}
        )
        rows.append(chosen(settings, args.locations.split(","), args.work / f"{args.model}-{seed}"))
        PAGE.write_text(page(rows), encoding="utf-8")
        print(rows[-1], flush=True)


def chosen(settings: SearchSettings, locations: Sequence[str], work: Path) -> Chosen:
    """One seed."""
    plan = plan_search(settings, work)
    with open_run(plan.folder, plan.frozen) as folder:
        runner = LocalTrialRunner(plan, folder, Silent())
        space = space_of(runner, scan_s(runner))
        wanted = [
            TrialRequest(p, rate, space.full) for p in locations for rate in space.of(p).rates
        ]
        selected = runner.trials("on S", trials_of(plan, wanted))
        on_s = best_per_location(selected, space.objective)
        finalists = validate(runner, Evidence(space, space.scans, selected)).finalists
        groups, seed = plan.parts.groups, plan.settings.seed
        subsets = resample(plan.parts.report, groups, SHARE, SUBSETS, seed)
        ids = [edit.id for edit in plan.edit_set.edits]
        fresh = [
            _fresh(runner, one.best, [tuple(ids[i] for i in some) for some in subsets])
            for one in finalists
        ]
    order = [one.location for one in finalists]
    return Chosen(settings.seed, tuple(order), tuple(fresh), order.index(on_s[0].location))


def _fresh(runner: LocalTrialRunner, best: Best, subsets: Sequence[tuple[str, ...]]) -> float:
    """The mean score on fresh subsets, where the bounds are kept on their mean; else 0."""
    trials: list[Trial] = [
        replace(best.record.trial, edits=some, split="T", rung=f"fresh-{i}", choosing=False)
        for i, some in enumerate(subsets)
    ]
    records = runner.trials("fresh", trials)
    broken = shortfall(gathered(records), asked_for(runner.objective.strict)) > 0
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
