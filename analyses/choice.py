"""Does the choice on S and V take the finalist that is better on fresh edits?

    python -m analyses.choice [--model demo] [--first 0] [--seeds 20] [--locations A,B,...]

Every seed draws its own S, V and T. The locations are tuned on S at three rates each, the best
three are finalists, validated on V and chosen among as a search does. Then each finalist is tuned
on ten subsets of T, which nothing was chosen on: their mean is what the choice is held against.
Beside it: what other estimates of the same trials would have chosen, also with the parts in each
other's place, so that the trials on T choose and those on S and V judge. Trials lie in --work;
writes reports/choice.md.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import fmean

from scipy.stats import binomtest

import locscope
from locscope.edits.splits import resample
from locscope.recommendation.finalists import Finalist, asked_for, gathered, steadied
from locscope.records import TrialRecord
from locscope.scoring.bounds import shortfall
from locscope.scoring.objectives import Objective, quick_score, score

PAGE = Path(__file__).parents[1] / "reports" / "choice.md"
LOCATIONS = "L5-9.mlp,L8-9.block,L8.mlp,L9.mlp,L5-9.block,L5-7.mlp,L2-7.mlp,L8.block"
SUBSETS, SHARE, APART = 10, 0.6, 0.01


def exact(records: Sequence[TrialRecord]) -> float:
    """The score of all trials together, as it is shown."""
    return score(gathered(records))


def probabilities(records: Sequence[TrialRecord]) -> float:
    """The same of the probabilities that stand in for the shares."""
    return quick_score(gathered(records))


def of_both(records: Sequence[TrialRecord]) -> float:
    """The score of shares that are each the mean of right answers and probability, as a search
    orders its finalists."""
    return score(steadied(gathered(records)))


def mean_of_scores(records: Sequence[TrialRecord]) -> float:
    """The mean of the trials' scores, however many edits each has."""
    return fmean(record.score for record in records)


Estimate = Callable[[Sequence[TrialRecord]], float]
ESTIMATES: dict[str, tuple[Estimate, slice]] = {
    "answers and probabilities, S and V together (a search's, margin 0)": (of_both, slice(None)),
    "the same without the second subsets of V": (of_both, slice(3)),
    "exact answers, S and V together": (exact, slice(None)),
    "exact answers, without the second subsets of V": (exact, slice(3)),
    "exact answers, mean of the trials": (mean_of_scores, slice(None)),
    "exact answers, S alone": (exact, slice(1)),
    "probabilities, S and V together": (probabilities, slice(None)),
}
"""Estimates from the trial on S and those on V, in this order."""


@dataclass(frozen=True)
class Chosen:
    """Of one seed: the finalists, the one chosen on S and V first, with their trials on S and V and
    on fresh subsets."""

    seed: int
    finalists: tuple[Finalist, ...]
    fresh: tuple[tuple[TrialRecord, ...], ...]
    objective: Objective

    @property
    def locations(self) -> tuple[str, ...]:
        """Of the finalists."""
        return tuple(str(finalist.location) for finalist in self.finalists)

    @property
    def on_s_and_v(self) -> tuple[tuple[TrialRecord, ...], ...]:
        """The trials that choose, by finalist."""
        return tuple((finalist.best.record, *finalist.on_v) for finalist in self.finalists)

    @cached_property
    def means(self) -> tuple[float, ...]:
        """The mean score on fresh subsets, 0 where a bound is broken there."""
        return tuple(self._mean(records) for records in self.fresh)

    def behind(self, chosen: int = 0) -> float:
        """What that finalist lacks to the best of them."""
        return max(self.means) - self.means[chosen]

    @property
    def apart(self) -> bool:
        """Whether the best is ahead of the next by more than chance alone decides."""
        return max(self.means) - sorted(self.means)[-2] > APART

    def _mean(self, records: Sequence[TrialRecord]) -> float:
        broken = shortfall(gathered(records), asked_for(self.objective)) > 0
        return 0.0 if broken else fmean(record.score for record in records)


def main() -> None:
    """Runs what is missing and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--locations", default=LOCATIONS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/choice"))
    args = parser.parse_args()
    locations = tuple(args.locations.split(","))
    rows = []
    for seed in range(args.first, args.first + args.seeds):
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
        print(seed, *rows[-1].locations, f"{rows[-1].behind():.3f} behind", flush=True)


def chosen(lab: locscope.Experiment, locations: Sequence[str], seed: int) -> Chosen:
    """One seed."""
    trials = [
        lab.trial(location, rate, choosing=True)
        for location in locations
        for rate in lab.space.of(location).rates
    ]
    finalists = lab.finalists(lab.run(trials, "on S"))
    indices = resample(lab.split.report, lab.split.groups, SHARE, SUBSETS, seed)
    subsets = [[lab.edits.edits[i].id for i in subset] for subset in indices]
    fresh = tuple(_fresh(lab, finalist.best.record, subsets) for finalist in finalists)
    return Chosen(seed, finalists, fresh, lab.space.objective)


def _fresh(
    lab: locscope.Experiment, best: TrialRecord, subsets: Sequence[Sequence[str]]
) -> tuple[TrialRecord, ...]:
    """The trials on fresh subsets."""
    location, rate = best.trial.location, best.trial.recipe.lr
    trials = [
        lab.trial(location, rate, edits=subset, name=f"fresh-{i}", batch=best.trial.recipe.batch)
        for i, subset in enumerate(subsets)
    ]
    return lab.run(trials, "fresh")


def page(rows: Sequence[Chosen]) -> str:
    """The report."""
    apart = [row for row in rows if row.apart]
    right = sum(row.behind() <= APART for row in rows)
    taken = sum(row.behind() == 0 for row in apart)
    lines = [
        "# Does the choice take the better finalist?",
        "",
        f"`python -m analyses.choice`: seeds {rows[0].seed} to {rows[-1].seed}, three finalists "
        f"each with {fmean(len(t) for row in rows for t in row.on_s_and_v):.1f} trials on S and V, "
        f"held against their means on {SUBSETS} fresh subsets of T (0 where these break a bound).",
        "",
        f"Chosen on S and V: at most {APART} behind the best in {right} of {len(rows)}; of the "
        f"{len(apart)} where the best is ahead of the next by more than {APART}, it was chosen in "
        f"{_share(taken, len(apart))}; {fmean(row.behind() for row in rows):.4f} behind on "
        "average.",
        "",
        *_estimates(rows),
        *_swapped(rows),
        "## Seed by seed",
        "",
        "| seed | chosen, then the others | on fresh edits | behind |",
        "|---:|---|---|---:|",
    ]
    for row in rows:
        scores = ", ".join(f"{mean:.3f}" for mean in row.means)
        names = ", ".join(row.locations)
        lines.append(f"| {row.seed} | {names} | {scores} | {row.behind():.3f} |")
    return "\n".join(lines) + "\n"


def _estimates(rows: Sequence[Chosen]) -> Iterator[str]:
    yield from (
        "## Other estimates from the same trials",
        "",
        "What the location with the highest estimate lacks on fresh edits. Apart: seeds in which "
        f"the best is ahead of the next by more than {APART}. Pairs: any two finalists of a seed "
        "that far apart on fresh edits, and whether the estimate has them in the same order; "
        "pairs of a seed share trials. Intervals are exact ones of 95 % for a share.",
        "",
        "| estimate | best taken where apart | pairs in order | behind on average |",
        "|---|---|---|---:|",
    )
    for name, (estimate, part) in ESTIMATES.items():
        guesses = [[estimate(records[part]) for records in row.on_s_and_v] for row in rows]
        chosen = [guess.index(max(guess)) for guess in guesses]
        taken = [r.behind(i) == 0 for r, i in zip(rows, chosen, strict=True) if r.apart]
        order = _in_order(zip(guesses, (row.means for row in rows), strict=True))
        behind = fmean(row.behind(i) for row, i in zip(rows, chosen, strict=True))
        yield f"| {name} | {_share(sum(taken), len(taken))} | {_share(*order)} | {behind:.4f} |"
    yield ""


def _swapped(rows: Sequence[Chosen]) -> Iterator[str]:
    """The estimates from trials on T, held against the exact score on S and V."""
    yield from (
        "## The parts in each other's place",
        "",
        "As many trials on T choose, three at a time, and the exact score on S and V together "
        "judges: other trials than above, of the same edits.",
        "",
        "| estimate | pairs in order |",
        "|---|---|",
    )
    whole = {name: of for name, (of, part) in ESTIMATES.items() if part == slice(None)}
    for name, estimate in whole.items():
        counts = [
            _in_order(
                ([estimate(t[i : i + 3]) for t in row.fresh], [exact(o) for o in row.on_s_and_v])
                for row in rows
            )
            for i in range(0, SUBSETS - 2, 3)
        ]
        yield f"| {name} | {_share(*map(sum, zip(*counts, strict=True)))} |"
    yield ""


def _in_order(seeds: Iterable[tuple[Sequence[float], Sequence[float]]]) -> tuple[int, int]:
    """Of how many pairs the guess has the order of the truth, and of how many that are apart."""
    same = [
        (guess[i] - guess[j]) * (truth[i] - truth[j]) > 0
        for guess, truth in seeds
        for i, j in combinations(range(len(truth)), 2)
        if abs(truth[i] - truth[j]) > APART
    ]
    return sum(same), len(same)


def _share(count: int, of: int) -> str:
    if not of:
        return "none"
    low, high = binomtest(count, of).proportion_ci()
    return f"{count} of {of} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
