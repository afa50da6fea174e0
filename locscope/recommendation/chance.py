"""Whether random locations did better on T than the recommended one: the headline says so.

A choice that random locations beat on edits that nothing was chosen on has shown nothing, whatever
bounds it keeps.
"""

from collections.abc import Iterator, Sequence
from math import isnan

from locscope.recommendation.finalists import Finalist
from locscope.records import Margin
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import Objective


def randoms_ahead(
    first: Finalist, randoms: Sequence[Finalist], objective: Objective
) -> tuple[Finalist, ...]:
    """The random locations that scored more on T than the first on the same edits, the one with
    the largest lead first. What breaks a bound that the first keeps there is not ahead."""
    mine = {record.trial.edits: record for record in first.on_t}
    leads = [
        (other.on_t[0].score - mine[other.on_t[0].trial.edits].score, other)
        for other in randoms
        if other.on_t[0].trial.edits in mine
        and (
            not violations(other.on_t[0].measures, objective.bounds)
            or violations(mine[other.on_t[0].trial.edits].measures, objective.bounds)
        )
    ]
    # NaN compares as false: what was not measured is not ahead.
    ahead = [(lead, other) for lead, other in leads if lead > 0]
    return tuple(
        other for _, other in sorted(ahead, key=lambda pair: (-pair[0], str(pair[1].location)))
    )


def on_chance(first: Finalist, ahead: Sequence[Finalist], count: int, mean: Margin | None) -> str:
    """A sentence where the mean of `count` random locations scored more than the first on T
    (`mean` is the margin over them), or one of them on the same edits; empty where none did."""
    said = "; ".join((*_mean(mean), *_each(first, ahead, count)))
    return f"Random locations did better there: {said}" if said else ""


def _mean(margin: Margin | None) -> Iterator[str]:
    # Of one location the margin is its own, which is said of it by name.
    if margin is None or isnan(margin.low) or not margin.value < 0:
        return
    tie = ", a tie" if margin.high >= 0 else ""
    yield f"their mean ({margin.value:+.3f}, 95 % {margin.low:+.3f} to {margin.high:+.3f}{tie})"


def _each(first: Finalist, ahead: Sequence[Finalist], count: int) -> Iterator[str]:
    if not ahead:
        return
    best = ahead[0].on_t[0]
    mine = next(record for record in first.on_t if record.trial.edits == best.trial.edits)
    most = "most " if len(ahead) > 1 else ""
    yield (
        f"{len(ahead)} of {count} on the same edits ({most}{ahead[0].location}, {best.score:.3f} "
        f"to {mine.score:.3f})"
    )
