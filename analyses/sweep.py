"""What a search is held against: a sweep of layers, its ten best tuned on all edits.

    python -m analyses.sweep --model DIR --edits FILE [--limit 60] [--abilities FILE] [RUN ...]

Every layer times `--parts` is tuned once on the edits of S, at its starting rate, and the ten best
on all edits at five rates. These trials are measured as the deployed one of a search is, on the
texts that nothing is chosen by, and none is given up. The page has the best within each of several
bounds on perplexity, what searches of the same edits (RUN, their folders) deployed beside the best
within the same bound, and how much of the abilities is kept at which perplexity.
Records lie in --work, where a sweep goes on; writes reports/sweep-NAME.md.

With --share I/N only every Nth trial is run, from the Ith on: several processes do it side by side,
each in a --work of its own. Records of all that lie in one folder are one sweep.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan, nan
from pathlib import Path
from statistics import fmean

import locscope
from locscope.locations import Location
from locscope.records import (
    Deployment,
    Measure,
    Recommendation,
    Trial,
    TrialRecord,
    default_batch,
)
from locscope.runs.store import read_record
from locscope.scoring.bounds import Bound, bound_of, named, ratio_limit
from locscope.scoring.objectives import BALANCED, merit, score
from locscope.selection.candidates import candidates, first_step_for, located, rounded
from locscope.selection.choice import utility

REPORTS = Path(__file__).parents[1] / "reports"
BEST = 10
FACTORS = (0.19, 0.33, 0.58, 1.0, 1.7)
"""Rates of the best, over the starting one."""
LIMITS = (1.02, 1.05, 1.08, 1.12, 1.18, 1.25, 1.4, 1.7, 2.5, 10.0)
SHOWN = ("reliability", "generalization", "locality", "perplexity_ratio", "retention")


def main() -> None:
    """Runs what is missing of the sweep and writes the page."""
    args = _parse()
    name, parts = f"{Path(args.model).name}-{Path(args.edits).stem}", tuple(args.parts.split(","))
    with locscope.open_experiment(
        args.model,
        args.edits,
        output=args.work / name,
        limit=args.limit,
        conflicts="last",
        abilities=args.abilities,
        parts=parts,
        quarters=False,
        device=args.device,
        dtype=args.dtype,
    ) as lab:
        found = swept(lab, parts, args.locations, args.share)
    if found is None:
        print(f"{args.work / name} has its share: put the records of the others there, and go on")
        return
    text = page(name, found, [found_in(run) for run in args.runs])
    (REPORTS / f"sweep-{name}.md").write_text(text, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of searches of the same edits")
    parser.add_argument("--model", required=True)
    parser.add_argument("--edits", required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--abilities", type=Path, default=None)
    parser.add_argument("--parts", default="mlp,mlp.down")
    parser.add_argument("--locations", type=lambda text: text.split(","), default=())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--share", type=_share, default=slice(None))
    parser.add_argument("--work", type=Path, default=Path("runs/sweep"))
    return parser.parse_args()


def _share(text: str) -> slice:
    """`I/N`: every Nth from the Ith on."""
    first, every = map(int, text.split("/"))
    return slice(first, None, every)


@dataclass(frozen=True)
class Swept:
    """Trials of every location on S, and those of the best of them on all edits."""

    on_s: tuple[TrialRecord, ...]
    full: tuple[TrialRecord, ...]


def swept(
    lab: locscope.Experiment,
    parts: Sequence[str],
    named_locations: Sequence[str] = (),
    share: slice = slice(None),
) -> Swept | None:
    """The records of the whole sweep, from its folder where they are there.

    `named_locations` are taken for the best, and nothing is swept. None where only a `share` of the
    trials was run and the folder lacks those of others.
    """
    edits = [edit.id for edit in lab.edits.edits]
    starts = _starting_rates(lab, parts, len(lab.select))
    trials = [_trial(lab, location, starts[location], lab.select) for location in starts]
    first = () if named_locations else _run(lab, "sweep", trials, share)
    if first is None:
        return None
    best = sorted(first, key=lambda record: -merit(record.measures))[:BEST]
    locations = [Location.parse(name) for name in named_locations] or [
        record.trial.location for record in best
    ]
    starts = _starting_rates(lab, parts, len(edits))
    trials = [
        _trial(lab, location, rounded(starts[location] * factor), edits)
        for location in locations
        for factor in FACTORS
    ]
    full = _run(lab, "ten best", trials, share)
    return None if full is None else Swept(first, full)


def _run(
    lab: locscope.Experiment, stage: str, trials: Sequence[Trial], share: slice
) -> tuple[TrialRecord, ...] | None:
    """Runs a share of the trials; the records of all of them, once all are there."""
    lab.run(trials[share], stage)
    records = lab.recorded(trials)
    return records if len(records) == len(trials) else None


def _starting_rates(
    lab: locscope.Experiment, parts: Sequence[str], edits: int
) -> dict[Location, float]:
    """These parts of every layer and the rate at which it starts on so many edits."""
    steps = lab.space.epochs * ceil(edits / default_batch(edits))
    first_step = first_step_for(lab.space.to_learn, steps)
    where = located(lab.model.info, parts)
    places = candidates(lab.model.info, lab.scans[0], where, first_step=first_step)
    return {place.location: place.lr for place in places}


def _trial(lab: locscope.Experiment, location: Location, lr: float, edits: Sequence[str]) -> Trial:
    """A trial as a sweep of all edits has it, whichever part of them it tunes."""
    return replace(lab.trial(location, lr, edits=edits, name="sweep"), split="all")


def found_in(run: Path) -> Recommendation:
    """What a search recommended."""
    found = read_record(run, "recommendation", "final", Recommendation)
    assert found is not None, f"{run} has no recommendation yet"
    return found


def page(name: str, swept: Swept, found: Sequence[Recommendation]) -> str:
    """The report."""
    records = swept.full
    made = [(one, one.deployment) for one in found if one.deployment is not None]
    parts = [
        f"# A sweep of {name}\n\nWritten by `python -m analyses.sweep`: {len(records)} trials of "
        f"{len(records[0].trial.edits)} edits, {sum(one.seconds for one in records) / 60:.0f} "
        "minutes in all.",
        _best_table(records),
        *(["## Searches of the same edits", _against(records, made)] if made else []),
        "## What is kept at which perplexity",
        _kept_table(records),
        "## All trials on all edits",
        _table(records),
        *(["## The sweep on the edits of S", _table(swept.on_s)] if swept.on_s else []),
    ]
    return "\n\n".join(parts) + "\n"


def within(records: Sequence[TrialRecord], limit: float) -> TrialRecord | None:
    """The best trial within a bound on the perplexity ratio."""
    kept = [one for one in records if one.measure("perplexity_ratio").value <= limit]
    return max(kept, key=lambda one: utility(one, BALANCED), default=None)


def _best_table(records: Sequence[TrialRecord]) -> str:
    lines = [f"| perplexity ratio at most | best | rate | score | {' | '.join(SHOWN)} |"]
    lines.append(f"|---:|---|---:|---:|{'---:|' * len(SHOWN)}")
    for limit in LIMITS:
        if (best := within(records, limit)) is not None:
            lines.append(f"| {limit:g} | {_cells(best)} |")
    return "\n".join(lines)


def _against(
    records: Sequence[TrialRecord], made: Sequence[tuple[Recommendation, Deployment]]
) -> str:
    lines = [
        "A search is held against the best of the sweep within the bound that it went by, or "
        "within what it lost where that is more.\n",
        f"| seed | met | bound | deployed | rate | score | {' | '.join(SHOWN)} | best within "
        "| its score | short by |",
        f"|---:|---|---:|---|---:|---:|{'---:|' * len(SHOWN)}---|---:|---:|",
    ]
    for one, it in made:
        bound = ratio_limit(_bounds(one))
        lost = _value(it.measures, "perplexity_ratio")
        best = within(records, max(bound, lost))
        its = nan if best is None else best.score
        lines.append(
            f"| {one.seed} | {'yes' if one.met else 'no'} | {bound:g} | {it.location} | "
            f"{it.recipe.lr:.3g} | {it.score:.3f} | {_shown(it.measures)} | "
            f"{best.trial.location if best else ''} | {its:.3f} | {its - it.score:+.3f} |"
        )
    return "\n".join(lines)


def _bounds(one: Recommendation) -> tuple[Bound, ...]:
    """What it went by: the looser bound, where that asked for left nothing useful."""
    return (bound_of(one.relaxed),) if one.relaxed else tuple(map(bound_of, one.bounds))


def _kept_table(records: Sequence[TrialRecord]) -> str:
    lines = ["| perplexity ratio | trials | retention, mean | least | most |"]
    lines.append("|---|---:|---:|---:|---:|")
    for low, high in zip((0.0, 1.0, *LIMITS), (1.0, *LIMITS, float("inf")), strict=True):
        values = [
            one.measure("retention").value
            for one in records
            if low < one.measure("perplexity_ratio").value <= high
        ]
        values = [value for value in values if not isnan(value)]
        if values:
            lines.append(
                f"| {low:g} to {high:g} | {len(values)} | {fmean(values):.3f} | "
                f"{min(values):.3f} | {max(values):.3f} |"
            )
    return "\n".join(lines)


def _table(records: Sequence[TrialRecord]) -> str:
    lines = [f"| location | rate | score | {' | '.join(SHOWN)} |"]
    lines.append(f"|---|---:|---:|{'---:|' * len(SHOWN)}")
    ordered = sorted(records, key=lambda one: -merit(one.measures))
    return "\n".join([*lines, *(f"| {_cells(one)} |" for one in ordered)])


def _cells(one: TrialRecord) -> str:
    trial = one.trial
    exact = score(one.measures, BALANCED)
    return f"{trial.location} | {trial.recipe.lr:.3g} | {exact:.3f} | {_shown(one.measures)}"


def _shown(measures: Sequence[Measure]) -> str:
    return " | ".join(f"{_value(measures, name):.3f}" for name in SHOWN)


def _value(measures: Sequence[Measure], name: str) -> float:
    found = named(measures, name)
    return nan if found is None else found.value


if __name__ == "__main__":
    main()
