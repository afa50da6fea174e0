"""How well does a cheap look tell what a full run would show?

    python -m analyses.look_fidelity [--seed 0] [--work runs/fidelity]

Every place of the paper's grid at three rates in full, beside quick evaluations on fewer edits and
epochs. The table has, for each kind of quick evaluation, the rank correlation of its best with the
best full score of a location, what choosing by it would have lost, how often its KL on neutral text
puts a full run that broke a bound above one that kept them, and by how much drift grows. Finished
trials lie in --work; writes reports/look_fidelity.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import locscope
from locscope.locations import Location
from locscope.records import TrialRecord
from locscope.scoring.statistics import spearman
from locscope.selection.choice import best_per_location
from locscope.selection.forecast import forecasts
from locscope.selection.space import Space, spent

PAGE = Path(__file__).parents[1] / "reports" / "look_fidelity.md"
LOOKS = ((10, 5), (20, 5), (20, 10), (30, 8))
"""Edits and epochs of the quick evaluations."""
Pair = tuple[Location, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/fidelity"))
    args = parser.parse_args()
    with locscope.open_experiment(
        output=args.work / str(args.seed), seed=args.seed, quarters=False, scans=(), audit=0
    ) as lab:
        space = lab.space
        full = _run(lab, lab.select)
        rows = [_row(space, _looks(lab, *look), full) for look in LOOKS]
    text = _page(space, full, rows, args.seed)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def _looks(lab: locscope.Experiment, edits: int, epochs: int) -> tuple[TrialRecord, ...]:
    """Every location at three rates on the first edits of S, by probabilities alone."""
    name = f"{edits} x {epochs}"
    return _run(lab, lab.first(edits), name=name, quick=True, epochs=epochs)


def _run(lab: locscope.Experiment, edits: Sequence[str], **how: Any) -> tuple[TrialRecord, ...]:
    trials = [
        lab.trial(candidate.location, rate, edits=edits, choosing=True, **how)
        for candidate in lab.space.candidates
        for rate in candidate.rates
    ]
    return lab.run(trials)


def _row(space: Space, looks: Sequence[TrialRecord], full: Sequence[TrialRecord]) -> str:
    best = best_per_location(full, space.objective)
    utility = {one.location: _utility(one.record) for one in best}
    first = [record for record in looks if _pair(record)[1] == space.of(_pair(record)[0]).lr]
    highest = [record for record in looks if _is_highest(space, record)]
    by_score, by_first, by_highest = _best(looks), _best(first), _best(highest)
    line = dict.fromkeys(one.location for one in forecasts(space, highest, highest))
    top = [max(utility.values()) - max(utility[p] for p in list(line)[:n]) for n in (1, 3, 5)]
    auc, growth = _collapse(looks, full)
    beyond = [_pair(record)[0] for record in highest if record.violated]
    zeroed = {
        location: 0.0 if location in beyond else score for location, score in by_highest.items()
    }
    cells = [
        looks[0].trial.rung,
        f"{_agreement(by_first, utility):.2f}",
        f"{_agreement(by_highest, utility):.2f}",
        f"{_agreement(zeroed, utility):.2f}",
        f"{sum(utility[location] < 0 for location in beyond)} of {len(beyond)}",
        f"{_agreement(by_score, utility):.2f}",
        f"{top[0]:.3f} / {top[1]:.3f} / {top[2]:.3f}",
        f"{auc:.2f}",
        f"{growth:.0f}",
        f"{spent(looks) / spent(full):.1%}",
    ]
    return "| " + " | ".join(cells) + " |"


def _best(looks: Sequence[TrialRecord]) -> dict[Location, float]:
    found: dict[Location, float] = {}
    for record in looks:
        location = record.trial.location
        found[location] = max(found.get(location, 0.0), record.score)
    return found


def _agreement(looks: Mapping[Location, float], utility: Mapping[Location, float]) -> float:
    return spearman([looks[location] for location in utility], list(utility.values()))


def _utility(record: TrialRecord) -> float:
    """The score, below all others where a bound was broken."""
    return record.score - bool(record.violated)


def _collapse(looks: Sequence[TrialRecord], full: Sequence[TrialRecord]) -> tuple[float, float]:
    """Share of pairs of a broken and a kept run that KL puts in order; median growth of drift."""
    drift = {_pair(record): record.measure("kl").value for record in looks}
    broken = [drift[_pair(record)] for record in full if record.violated]
    kept = [drift[_pair(record)] for record in full if not record.violated]
    grown = [record.measure("kl").value / drift[_pair(record)] for record in full]
    return fmean(b > k for b in broken for k in kept), median(grown)


def _is_highest(space: Space, record: TrialRecord) -> bool:
    return record.trial.recipe.lr == max(space.of(record.trial.location).rates)


def _pair(record: TrialRecord) -> Pair:
    return record.trial.location, record.trial.recipe.lr


HEAD = """\
# What a cheap look tells of a full run

Written by `python -m analyses.look_fidelity --seed {seed}`. Bundled model, {edits} edits of S,
{locations} locations at three rates: {full} full runs, {broken} of them beyond a bound. Ranks are
those of Spearman over locations with the best full run; what is lost is the score by which the
best of the first 1, 3, 5 places of the race's forecast is below the best of all (a location beyond
the bounds counts as 1 lower). "Worth 0" is the rank where a look at the highest rate that breaks a
bound counts as nothing, as in the audit of scans; the column after it says how many of those
locations keep the bounds at none of their rates in full.

| edits x epochs | rank, first rate | rank, highest rate | the same, worth 0 | keep none \
| rank, best of three | lost in top 1 / 3 / 5 | KL tells collapse | growth of KL \
| of the operations |
|---|---|---|---|---|---|---|---|---|---|
"""


def _page(space: Space, full: Sequence[TrialRecord], rows: Sequence[str], seed: int) -> str:
    head = HEAD.format(
        seed=seed,
        edits=space.edits,
        locations=len(space.candidates),
        full=len(full),
        broken=sum(bool(record.violated) for record in full),
    )
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
