"""Data of the table that says what was asked of a location, and what the recommended one gave."""

from locscope.records import Contender, Deployment, Measure
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.tradeoff import searched_objective
from locscope.report.data.words import NOT_MEASURED, number, rate, score_title, title_of
from locscope.scoring.bounds import Bound, miss, named

COLUMNS = ("measure", "asked", "got", "kept")


def objective_table(inputs: ReportInputs) -> Table:
    """The terms of the score with their weights, and every bound with whether it was kept."""
    found, best = inputs.recommendation, inputs.best
    if found is None or best is None:
        return Table("objective", "Objective", COLUMNS, ())
    best = found.deployment or best
    objective = searched_objective(inputs)
    terms = tuple(
        _row(title_of(measure), f"in the score, weight {weight:g}", best, measure)
        for measure, weight in objective.weights.items()
    )
    bounds = tuple(_bound_row(bound, best) for bound in objective.bounds)
    title = f"{objective.title[:1].upper()}{objective.title[1:]}"
    note = f"{title}. Score: {score_title(found.score_name)}."
    if found.bound_margin:
        note += f" Choices left {found.bound_margin:.0%} of what bounds on drift allow free."
    return Table("objective", f"Objective: {objective.name}", COLUMNS, (*terms, *bounds), note)


def objective_line(inputs: ReportInputs) -> str:
    """The objective with its weights and bounds in one line; empty without a recommendation."""
    found = inputs.recommendation
    if found is None:
        return ""
    bounds = ", ".join(found.bounds) or "none"
    room = (
        f" (choices left {found.bound_margin:.0%} of those on drift free)"
        if found.bound_margin
        else ""
    )
    return f"objective {found.objective}: {score_title(found.score_name)}; bounds: {bounds}{room}"


def bounds_table(inputs: ReportInputs) -> Table:
    """What each bound on the perplexity ratio would give, where the one asked for costs much."""
    found = inputs.recommendation
    if found is None or not found.looser:
        return Table("bounds", "Bounds", (), ())
    used = (found.relaxed,) if found.relaxed else found.bounds
    rows = tuple(
        (
            TableCell(f"at most {one.limit:g}", one.limit),
            TableCell(one.location or "nothing"),
            TableCell(rate(one.lr), one.lr),
            figure_cell(one.score),
            figure_cell(one.reliability),
            figure_cell(one.perplexity_ratio),
            TableCell("used" if f"perplexity_ratio<={one.limit:g}" in used else ""),
        )
        for one in found.looser
    )
    count = f"{found.looser[0].edits:,} edits"
    columns = ("perplexity ratio", f"best on {count}", "lr", "score", "reliability", "lost", "")
    caption = "What each bound on the perplexity ratio would give"
    relaxed = (
        " The bound asked for leaves less than half of the edits learned, so the search went on "
        "within the one at the knee of score against loss."
    )
    note = (
        f"The best trial on {count} within each.{relaxed if found.relaxed else ''} A bound of your "
        "own is given with --bound."
    )
    return Table("bounds", caption, columns, rows, note)


def bounds_line(inputs: ReportInputs) -> str:
    """The same in one line, of each trial the tightest bound that allows it."""
    found = inputs.recommendation
    if found is None or not found.looser:
        return ""
    each = (
        f"{one.limit:g}: {one.location} score {number(one.score)}, reliability "
        f"{number(one.reliability)}"
        if one.location
        else f"{one.limit:g}: nothing"
        for one, last in zip(found.looser, (None, *found.looser), strict=False)
        if last is None or (one.location, one.lr, one.score) != (last.location, last.lr, last.score)
    )
    count = f"{found.looser[0].edits:,} edits"
    return f"bounds on the perplexity ratio would give, on {count}: {'; '.join(each)}"


def _row(
    title: str, asked: str, best: Contender | Deployment, measure: str
) -> tuple[TableCell, ...]:
    value = _value(named(best.measures, measure))
    return TableCell(title), TableCell(asked), value, TableCell("")


def _bound_row(bound: Bound, best: Contender | Deployment) -> tuple[TableCell, ...]:
    measure = named(best.measures, bound.measure)
    asked = f"{bound.side} {bound.limit:g}{', surely' if bound.sure else ''}"
    start = _row(title_of(bound.measure), asked, best, bound.measure)
    if measure is None or not measure.count:
        return (*start[:3], TableCell("not measured"))
    broken = miss(measure, bound) > 0
    return (*start[:3], TableCell("no" if broken else "yes", alarm=broken))


def _value(measure: Measure | None) -> TableCell:
    return TableCell(NOT_MEASURED, float("nan")) if measure is None else figure_cell(measure.value)
