"""The page of `analyses/race.py`: regret and cost against the sweep, margins over the controls."""

from collections.abc import Sequence
from statistics import fmean, median, stdev

import numpy as np

from analyses.race_parts.contest import REVERSED, Entry

DRAWS = 10_000
FEWEST = 5
"""Seeds below which a bootstrap says nothing."""
Rows = dict[tuple[str, int], dict[str, Entry]]


def page(entries: Sequence[Entry]) -> str:
    """The whole page."""
    rows: Rows = {}
    for entry in entries:
        rows.setdefault((entry.model, entry.seed), {})[entry.strategy] = entry
    tables = [_against_sweep(rows), _against_controls(rows), _reversed(rows), _choices(rows)]
    parts = [HEAD, _apart(rows), *tables]
    return "\n".join(part for part in parts if part)


HEAD = """\
# The race against the sweep, chance and the depth rule

Written by `python -m analyses.race`. Scores are those on T (edits that chose nothing) of what was
chosen on S; regret counts what broke a bound there as nothing. A margin is paired by seed, its
interval a bootstrap over seeds; "kept" is the margin where, again, what broke a bound is worth
nothing. Cost is that of choosing alone, in operations of its trials, and in seconds of these and of
the race's scans; tuning on T is the same for all and not counted. Random gets as many operations as
the race and keeps a quarter of them for the rates of the best locations it drew; the depth rule's
grid of rates takes less and has no use for more. Reversed scans have no say once they fail to
predict rung 1, so that arm shows that they cost nothing, not that scans help. Choices leave as
much room below bounds on drift as a search does, or what a name says ("with room 0": none).
"""


def _against_sweep(rows: Rows) -> str:
    lines = ["## Against a sweep of the same candidates at every rate\n"]
    for model in _models(rows):
        pairs = _pairs(rows, model, "race", "sweep")
        if not pairs:
            continue
        regrets = [sweep.utility_r - race.utility_r for race, sweep in pairs]
        error = stdev(regrets) / len(regrets) ** 0.5 if len(regrets) > 1 else float("nan")
        flops = [race.flops / sweep.flops for race, sweep in pairs]
        seconds = [race.seconds / sweep.seconds for race, sweep in pairs]
        same = sum(race.location == sweep.location for race, sweep in pairs)
        lines.append(
            f"- {model}, {len(pairs)} seeds: median regret {median(regrets):+.4f} (mean "
            f"{fmean(regrets):+.4f}, standard error {error:.4f}), largest {max(regrets):+.3f}; "
            f"the sweep's location in {same}; {median(flops):.1%} of its operations (at most "
            f"{max(flops):.1%}), {median(seconds):.1%} of its time (at most {max(seconds):.1%})"
        )
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def _against_controls(rows: Rows) -> str:
    lines = [
        "## Against chance and the depth rule\n",
        "| model | against | seeds | margin on T | 95 % | kept | 95 % | race ahead in | its cost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model in _models(rows):
        for other in ("random", "depth-rule"):
            pairs = _pairs(rows, model, "race", other)
            if not pairs:
                continue
            margins = [race.score_r - rival.score_r for race, rival in pairs]
            kept = [race.utility_r - rival.utility_r for race, rival in pairs]
            ahead = sum(margin > 0 for margin in margins)
            cost = median(rival.flops / race.flops for race, rival in pairs)
            lines.append(
                f"| {model} | {other} | {len(pairs)} | {_margin(margins)} | {_margin(kept)} | "
                f"{ahead} | {cost:.2f} of the race's |"
            )
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def _reversed(rows: Rows) -> str:
    lines = ["## With every scan reversed\n"]
    for model in _models(rows):
        pairs = _pairs(rows, model, REVERSED, "race")
        if not pairs:
            continue
        margins = [mirrored.score_r - race.score_r for mirrored, race in pairs]
        cost = median(mirrored.flops / race.flops for mirrored, race in pairs)
        sweeps = _pairs(rows, model, REVERSED, "sweep")
        share = f", {median(m.flops / s.flops for m, s in sweeps):.1%} of a sweep" if sweeps else ""
        lines.append(
            f"- {model}, {len(pairs)} seeds: median difference on T {median(margins):+.4f}, the "
            f"same choice in {sum(m.location == r.location for m, r in pairs)}; {cost:.2f} of the "
            f"race's operations{share}"
        )
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def _choices(rows: Rows) -> str:
    lines = ["## What was chosen\n", "| model | strategy | locations | beyond a bound on T |"]
    lines.append("|---|---|---|---|")
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    for model in _models(rows):
        for name in names:
            mine = [found[name] for (m, _), found in rows.items() if m == model and name in found]
            if mine:
                counts: dict[str, int] = {}
                for entry in mine:
                    counts[entry.location] = counts.get(entry.location, 0) + 1
                order = sorted(counts, key=lambda location: -counts[location])
                locations = ", ".join(f"{location} ({counts[location]})" for location in order)
                broken = sum(entry.kept.count(False) for entry in mine)
                trials = sum(len(entry.scores_r) for entry in mine)
                lines.append(f"| {model} | {name} | {locations} | {broken} of {trials} |")
    return "\n".join(lines) + "\n"


def _apart(rows: Rows) -> str:
    """How many seeds have rows of several states of the code, which are not compared."""
    mixed = sum(len({entry.code for entry in found.values()}) > 1 for found in rows.values())
    said = f"Of {mixed} seeds some rows are of another state of the code: not compared.\n"
    return said if mixed else ""


def _models(rows: Rows) -> list[str]:
    return list(dict.fromkeys(model for model, _ in rows))


def _pairs(rows: Rows, model: str, one: str, other: str) -> list[tuple[Entry, Entry]]:
    mine = [found for (name, _), found in rows.items() if name == model]
    pairs = [(found[one], found[other]) for found in mine if one in found and other in found]
    # Another state of the code may race, stop or count otherwise: those rows are no pair.
    return [(a, b) for a, b in pairs if a.code == b.code and len(a.scores_r) == len(b.scores_r)]


def _margin(values: Sequence[float]) -> str:
    """The mean and, of enough seeds, its interval."""
    if len(values) < FEWEST:
        return f"{fmean(values):+.3f} | too few seeds"
    drawn = np.random.default_rng(0).choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{fmean(values):+.3f} | {low:+.3f} to {high:+.3f}"
