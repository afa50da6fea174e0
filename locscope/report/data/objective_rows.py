"""Data of the table that says what was asked of a location, and what the recommended one gave."""

from locscope.records import BoundPoint, Contender, Deployment, Measure
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.tradeoff import searched_objective
from locscope.report.data.words import NOT_MEASURED, number, rate, score_title, title_of
from locscope.scoring.bounds import Bound, miss, named

COLUMNS = ("measure", "asked", "got", "kept")


def objective_table(inputs: ReportInputs) -> Table:
    """The terms of the score with their weights, and every bound with whether it was kept."""
    recommendation, best = inputs.recommendation, inputs.best
    if recommendation is None or best is None:
        return Table("objective", "Objective", COLUMNS, ())
    # What is deployed is what the bounds were promised for; runs without one have T.
    best = recommendation.deployment or best
    objective = searched_objective(inputs)
    terms = tuple(
        _row(title_of(measure), f"in the score, weight {weight:g}", best, measure)
        for measure, weight in objective.weights.items()
    )
    bounds = tuple(_bound_row(bound, best) for bound in objective.bounds)
    title = f"{objective.title[:1].upper()}{objective.title[1:]}"
    note = f"{title}. Score: {score_title(recommendation.score_name)}."
    if recommendation.bound_margin:
        share = f"{recommendation.bound_margin:.0%}"
        note += f" Choices left {share} of what bounds on drift allow free."
    return Table("objective", f"Objective: {objective.name}", COLUMNS, (*terms, *bounds), note)


def objective_line(inputs: ReportInputs) -> str:
    """The objective with its weights and bounds in one line; empty without a recommendation."""
    recommendation = inputs.recommendation
    if recommendation is None:
        return ""
    bounds = ", ".join(recommendation.bounds) or "none"
    margin = (
        f" (choices left {recommendation.bound_margin:.0%} of those on drift free)"
        if recommendation.bound_margin
        else ""
    )
    score = score_title(recommendation.score_name)
    return f"objective {recommendation.objective}: {score}; bounds: {bounds}{margin}"


def bounds_table(inputs: ReportInputs) -> Table:
    """What each bound on the perplexity ratio would give, where the one asked for costs much."""
    recommendation = inputs.recommendation
    if recommendation is None or not recommendation.looser:
        return Table("bounds", "Bounds", (), ())
    # Bounds are recorded as written, so that the text tells which one was used.
    used = (recommendation.relaxed,) if recommendation.relaxed else recommendation.bounds
    rows = tuple(
        (
            TableCell(f"at most {point.limit:g}", point.limit),
            TableCell(str(point.location or "nothing")),
            TableCell(rate(point.lr), point.lr),
            figure_cell(point.score),
            figure_cell(point.reliability),
            figure_cell(point.perplexity_ratio),
            TableCell("used" if f"perplexity_ratio<={point.limit:g}" in used else ""),
        )
        for point in recommendation.looser
    )
    count = f"{recommendation.looser[0].edits:,} edits"
    columns = ("perplexity ratio", f"best on {count}", "lr", "score", "reliability", "lost", "")
    caption = "What each bound on the perplexity ratio would give"
    relaxed = (
        " The bound asked for leaves less than half of the edits learned, so the search went on "
        "within the one at the knee of score against loss."
    )
    note = (
        f"The best trial on {count} within each.{relaxed if recommendation.relaxed else ''} A "
        "bound of your own is given with --bound."
    )
    return Table("bounds", caption, columns, rows, note)


def bounds_line(inputs: ReportInputs) -> str:
    """The same in one line, of each trial the tightest bound that allows it."""
    recommendation = inputs.recommendation
    if recommendation is None or not recommendation.looser:
        return ""
    points = recommendation.looser
    pairs = zip(points, (None, *points), strict=False)
    each = "; ".join(_in_brief(point) for point, tighter in pairs if not _same(point, tighter))
    return f"bounds on the perplexity ratio would give, on {points[0].edits:,} edits: {each}"


def _in_brief(point: BoundPoint) -> str:
    if not point.location:
        return f"{point.limit:g}: nothing"
    score, reliability = number(point.score), number(point.reliability)
    return f"{point.limit:g}: {point.location} score {score}, reliability {reliability}"


def _same(point: BoundPoint, tighter: BoundPoint | None) -> bool:
    """Whether the tighter bound gives the same trial."""
    if tighter is None:
        return False
    return (point.location, point.lr, point.score) == (tighter.location, tighter.lr, tighter.score)


def _row(
    title: str, wanted: str, best: Contender | Deployment, measure: str
) -> tuple[TableCell, ...]:
    value = _value(named(best.measures, measure))
    return TableCell(title), TableCell(wanted), value, TableCell("")


def _bound_row(bound: Bound, best: Contender | Deployment) -> tuple[TableCell, ...]:
    measure = named(best.measures, bound.measure)
    wanted = f"{bound.side} {bound.limit:g}{', surely' if bound.sure else ''}"
    start = _row(title_of(bound.measure), wanted, best, bound.measure)
    # A bound that could not be measured is neither kept nor broken.
    if measure is None or not measure.count:
        return (*start[:3], TableCell("not measured"))
    broken = miss(measure, bound) > 0
    return (*start[:3], TableCell("no" if broken else "yes", alarm=broken))


def _value(measure: Measure | None) -> TableCell:
    return TableCell(NOT_MEASURED, float("nan")) if measure is None else figure_cell(measure.value)
