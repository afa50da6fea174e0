"""By which score should trials on few edits be ranked, when a share of it may be exactly 0?

    python -m analyses.ranking_scores [--model demo] [--edits demo] [--small 18] [--fresh 100]

Every layer times `--parts` at three rates is tuned on few edits and, by the same recipe, on fresh
ones. The scores of the first are held against the exact score of the second, by rank: the exact
one, that in which none of n counts as half an item (`merit`, by which a search ranks), Jeffreys'
estimate of every share, and that of probabilities. Writes reports/ranking_scores.md.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

from scipy import stats

import locscope
from locscope.edits.splits import drawn_order
from locscope.records import Measure, TrialRecord
from locscope.scoring.bounds import SHARES
from locscope.scoring.objectives import merit, quick_score, score

PAGE = Path(__file__).parents[1] / "reports" / "ranking_scores.md"


@dataclass(frozen=True)
class Pair:
    """One location and rate, on few edits and on fresh ones."""

    few: TrialRecord
    fresh: TrialRecord


def jeffreys(measures: Sequence[Measure]) -> float:
    """The score with (n x + 1/2) / (n + 1) for every share x of n items."""
    return score([_lifted(one) for one in measures])


def _lifted(one: Measure) -> Measure:
    if one.name not in SHARES or not one.count:
        return one
    return replace(one, value=(one.value * one.count + 0.5) / (one.count + 1))


SCORES: dict[str, Callable[[Sequence[Measure]], float]] = {
    "exact": score,
    "none of n is half an item (merit)": merit,
    "Jeffreys' estimate of every share": jeffreys,
    "probabilities": quick_score,
}


def main() -> None:
    """Runs the trials and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--parts", default="mlp,mlp.down,attn")
    parser.add_argument("--small", type=int, default=18)
    parser.add_argument("--fresh", type=int, default=100)
    args = parser.parse_args()
    pairs = measured(args.model, args.edits, args.parts.split(","), args.small, args.fresh)
    text = page(pairs, args.parts, args.small, args.fresh)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def measured(
    model: str, edits: str, parts: Sequence[str], small: int, fresh: int
) -> tuple[Pair, ...]:
    """Every location at three rates, both ways; the two sets of edits share no group."""
    with (
        tempfile.TemporaryDirectory() as folder,
        locscope.open_experiment(
            model,
            edits,
            output=Path(folder) / "run",
            parts=tuple(parts),
            quarters=False,
            conflicts="last",
        ) as lab,
    ):
        ids = [edit.id for edit in lab.edits.edits]
        order = [ids[i] for i in drawn_order(range(len(ids)), lab.split.groups, 0)]
        tried = [(place.location, rate) for place in lab.space.candidates for rate in place.rates]
        first, second = (
            lab.run([lab.trial(*at, edits=subset, name=name) for at in tried], name)
            for name, subset in (("few", order[:small]), ("fresh", order[small : small + fresh]))
        )
    return tuple(Pair(*two) for two in zip(first, second, strict=True))


def page(pairs: Sequence[Pair], parts: str, small: int, fresh: int) -> str:
    """The report."""
    zero = [one for one in pairs if not SCORES["exact"](one.few.measures) > 0]
    lines = [
        "# By which score to rank trials on few edits",
        "",
        f"`python -m analyses.ranking_scores --parts {parts} --small {small} --fresh {fresh}`: "
        f"{len(pairs)} locations and rates on {small} edits and on {fresh} fresh ones. Spearman "
        "correlation of each score on the few with the exact "
        f"score on the fresh; of {len(zero)} the exact score on the few is 0.",
        "",
        "| score on the few | all | those of exact score 0 |",
        "|---|---:|---:|",
    ]
    for name, of in SCORES.items():
        lines.append(f"| {name} | {_rank(pairs, of):.3f} | {_rank(zero, of):.3f} |")
    return "\n".join(lines) + "\n"


def _rank(pairs: Sequence[Pair], of: Callable[[Sequence[Measure]], float]) -> float:
    both = [(of(one.few.measures), score(one.fresh.measures)) for one in pairs]
    both = [(x, y) for x, y in both if not (isnan(x) or isnan(y))]
    return (
        float(stats.spearmanr(*zip(*both, strict=True)).statistic)
        if len(both) > 2
        else float("nan")
    )


if __name__ == "__main__":
    main()
