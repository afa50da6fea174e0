"""Data of efficacy against collapse: every location tried, the front of them, and its knee."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from locscope.locations import Location
from locscope.records import FrontPoint, TrialRecord
from locscope.report.data.curves import Chart, Series
from locscope.report.data.heatmaps import part_order, placed, ticks_among
from locscope.report.data.inputs import ReportInputs, in_full
from locscope.report.data.words import in_words, number, rate
from locscope.scoring.objectives import BALANCED, OBJECTIVES, Objective, efficacy, objective_of
from locscope.scoring.tradeoffs import front_points, is_known, point_of

COLLAPSE = "perplexity_ratio"
TITLE = "Efficacy and collapse"
X_TITLE = "perplexity ratio (log scale of the excess over 1)"
NOTE = (
    "Efficacy: the harmonic mean of reliability, generalization and locality, weighted as in the "
    "score. Hollow: a bound is missed. Upper left is best. The line is the front: trials within "
    "the bounds that no other beats in both."
)
KNEE = (
    " The star is its knee, where more efficacy begins to cost most; it lies farthest from the "
    "line between the ends."
)


def searched_objective(inputs: ReportInputs) -> Objective:
    """The objective of the search, with its own weights and bounds where they were recorded."""
    recommendation = inputs.recommendation
    if recommendation is not None:
        return objective_of(recommendation.objective, recommendation.weights, recommendation.bounds)
    return OBJECTIVES.get(inputs.run.settings.get("objective", ""), BALANCED)


def tradeoff(inputs: ReportInputs) -> Chart:
    """Efficacy against perplexity ratio of every full trial on the choosing split.

    A series per part, then the front that the search recorded (or that of these trials), and its
    knee where the objective is to find it.
    """
    objective, full, recommendation = (
        searched_objective(inputs),
        in_full(inputs.trials),
        inputs.recommendation,
    )
    drawn = [record for record in full if is_known(point_of(record, objective))]
    clouds: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in drawn:
        clouds[_part(record.trial.location)].append(record)
    series = [_cloud(part, clouds[part], objective) for part in sorted(clouds, key=part_order)]
    # The front as it was chosen by; runs that were cut off have none yet.
    recorded = recommendation.front if recommendation else ()
    series += _front(recorded or front_points(drawn, objective), objective)
    note = NOTE + (KNEE if objective.knee else "")
    if left_out := len(full) - len(drawn):
        note += f" Left out for want of efficacy or a perplexity ratio: {left_out}."
    ticks = ticks_among(COLLAPSE, (x for cloud in series for x in cloud.x))
    return Chart("tradeoff", TITLE, X_TITLE, "efficacy", tuple(series), False, False, note, ticks)


def _front(points: Sequence[FrontPoint], objective: Objective) -> tuple[Series, ...]:
    if not points:
        return ()
    line = _front_series("front", points, "front")
    bend = [point for point in points if point.knee]
    return (line, _front_series("knee", bend, "knee")) if objective.knee and bend else (line,)


def _front_series(
    name: str, points: Sequence[FrontPoint], kind: Literal["front", "knee"]
) -> Series:
    return Series(
        name,
        tuple(placed(COLLAPSE, point.perplexity_ratio) for point in points),
        tuple(point.efficacy for point in points),
        tuple(
            f"{name}: {p.location}, lr {rate(p.lr)}\nefficacy {number(p.efficacy)}\n"
            f"perplexity ratio {number(p.perplexity_ratio)}"
            for p in points
        ),
        kind=kind,
        locations=tuple(str(point.location) for point in points),
    )


def _cloud(part: str, records: list[TrialRecord], objective: Objective) -> Series:
    ratios = (record.measure(COLLAPSE).value for record in records)
    return Series(
        part,
        tuple(placed(COLLAPSE, ratio) for ratio in ratios),
        tuple(efficacy(record.measures, objective) for record in records),
        tuple(_hover(record, objective) for record in records),
        part,
        tuple(bool(record.violated) for record in records),
        locations=tuple(str(record.trial.location) for record in records),
    )


def _part(location: Location) -> str:
    parts = {site.part for site in location.sites}
    return parts.pop() if len(parts) == 1 else "several"


def _hover(record: TrialRecord, objective: Objective) -> str:
    ratio = record.measure("perplexity_ratio").value
    lines = [
        f"{record.trial.location}, lr {rate(record.trial.recipe.lr)}",
        f"efficacy {number(efficacy(record.measures, objective))}, score {number(record.score)}",
        f"perplexity ratio {number(ratio)}",
    ]
    return "\n".join([*lines, *map(in_words, record.violated)])
