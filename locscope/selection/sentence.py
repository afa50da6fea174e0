"""The recommendation in one sentence."""

from collections.abc import Sequence
from math import isnan

from locscope.records import Contender, Margin, Measure
from locscope.scoring.bounds import named
from locscope.scoring.objectives import EFFICACY
from locscope.scoring.statistics import Interval, overlaps_zero

ENOUGH = 5
"""Repetitions on R below which a margin is said to rest on few."""


def sentence(
    contenders: Sequence[Contender],
    runner_up: Margin | None,
    missed: Sequence[str],
    *,
    nearest: bool = False,
) -> str:
    """Where to tune and how, what that gave on R, against the runner-up, and what it misses.

    With `nearest` nothing tried on S was within the bounds, and the first is the nearest to them.
    """
    best = contenders[0]
    start = "Nothing tried met the bounds; nearest to them: tune" if nearest else "Tune"
    parts = [f"{start} {_place(best)}: on held-out edits {_result(best.measures)}"]
    if runner_up is not None:
        second = next((one for one in contenders if one.role == runner_up.over), None)
        parts.append(_beside(best, second, runner_up))
    return "; ".join(parts) + (f". It misses: {'; '.join(missed)}." if missed else ".")


def _place(best: Contender) -> str:
    recipe = best.recipe
    how = f"batch {recipe.batch}, at most {recipe.epochs} epochs"
    return f"{best.location} at learning rate {recipe.lr:g} ({how})"


def _result(measures: Sequence[Measure]) -> str:
    names = [*(term.measure for term in EFFICACY), "retention"]
    found = [(name, named(measures, name)) for name in names]
    shares = [f"{n} {m.value:.1%}" for n, m in found if m is not None and not isnan(m.value)]
    ratio = named(measures, "perplexity_ratio")
    if ratio is not None and not isnan(ratio.value):
        shares.append(f"perplexity x {ratio.value:.3f}")
    return ", ".join(shares) or "nothing measured"


def _beside(best: Contender, second: Contender | None, margin: Margin) -> str:
    bounds = f", 95 % {margin.low:+.3f} to {margin.high:+.3f}"
    value = f"{margin.value:+.3f}{', no interval' if isnan(margin.low) else bounds}"
    tie = overlaps_zero(Interval(margin.value, margin.low, margin.high, 0))
    larger = second is not None and second.parameter_count > best.parameter_count
    rule = f", and smaller ({best.parameter_count:,} weights)" if tie and larger else ""
    misses = second.violated if second is not None and not best.violated else ()
    beyond = f", which misses a bound ({'; '.join(misses)})" if misses else ""
    count = len(best.repetitions)
    few = f", from {count} repetition{'s' * (count > 1)} only" if count < ENOUGH else ""
    return f"{_against(margin, tie)} {margin.location} ({value}){beyond}{rule}{few}"


def _against(margin: Margin, tie: bool) -> str:
    if isnan(margin.low):
        return "not told apart from"
    if tie:
        return "a tie with"
    return "ahead of" if margin.value > 0 else "behind"
