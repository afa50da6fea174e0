"""Data of the edit-count curve: what the locations that matter do on fewer and on more edits."""

from collections import defaultdict
from math import isnan

from locscope.locations import Location
from locscope.records import COUNT_RUNG, Recipe, TrialRecord
from locscope.report.data.curves import Chart, Series
from locscope.report.data.inputs import ReportInputs, standing
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import in_words, names, number, rate, title_of

NOTE = (
    "S, V and T together, one draw of edits (more hold fewer) and one seed, so no interval. Every "
    "location goes by the recipe that did best on S, and not by the one that was fitted to all "
    "edits: compare the locations with each other, not with the numbers at the top or on T. "
    "Hollow: a bound is missed."
)
VALUES = ("reliability", "generalization", "locality", "perplexity_ratio")

Curve = tuple[TrialRecord, ...]
Tuned = tuple[Location | str, Recipe]
"""A location (or words for several) with its recipe."""


def count_curves(inputs: ReportInputs) -> dict[str, Curve]:
    """By name (roles and location) the trials of a location on more and more edits; contenders go
    first. None without a recommendation, whose finalists they are."""
    if inputs.recommendation is None:
        return {}
    roles: dict[Tuned, list[str]] = defaultdict(list)
    # One location may have several roles: the runner-up may be the depth rule's too.
    for contender in inputs.recommendation.contenders:
        roles[contender.location, contender.recipe].append(contender.role)
    tuned: dict[Tuned, list[TrialRecord]] = defaultdict(list)
    for record in inputs.trials:
        if record.trial.rung.startswith(COUNT_RUNG):
            tuned[record.trial.location, record.trial.recipe].append(record)
    order = [
        *(location for location in roles if location in tuned),
        *(p for p in tuned if p not in roles),
    ]
    named = {_name(location, roles[location]): tuned[location] for location in order}
    return {name: tuple(sorted(records, key=_edits)) for name, records in named.items()}


def _name(tuned: Tuned, roles: list[str]) -> str:
    """What has no role was a finalist, perhaps before the search went on, and at another rate."""
    location, recipe = tuned
    if roles:
        return f"{', '.join(roles)}: {location}"
    return f"finalist: {location} at {rate(recipe.lr)}"


def count_charts(inputs: ReportInputs) -> tuple[Chart, Chart]:
    """Score, and perplexity ratio, against the number of edits."""
    curves = count_curves(inputs)
    # Plotly's own ticks on a log scale are powers of ten, where no trial lies.
    numbers = sorted({_edits(record) for records in curves.values() for record in records})
    charts = (
        Chart(
            name,
            title,
            "edits tuned (log scale)",
            y_title,
            tuple(_series(label, records, measure) for label, records in curves.items()),
            lines=True,
            log_x=True,
            note=NOTE,
            ticks=tuple((float(n), f"{n:,}") for n in numbers),
        )
        for name, title, y_title, measure in (
            ("counts", "Score by number of edits", "score", ""),
            ("counts-collapse", "Collapse by number of edits", "perplexity ratio", VALUES[-1]),
        )
    )
    score, collapse = charts
    return score, collapse


def counts_table(inputs: ReportInputs) -> Table:
    """What was measured of every location at every number of edits."""
    rows = tuple(
        _row(name, record) for name, records in count_curves(inputs).items() for record in records
    )
    columns = ("location", "edits", "lr", "score", *map(title_of, VALUES), "note")
    return Table("counts", "By number of edits", columns, rows, NOTE if rows else "")


def count_line(inputs: ReportInputs) -> str:
    """Whether the recommended location still leads on the most edits tried, in one line."""
    # Curves rise in edits: the last record is on the most.
    last = {name: records[-1] for name, records in count_curves(inputs).items()}
    mine = next((name for name in last if "recommended" in name), None)
    if mine is None:
        return ""
    leader = max(last, key=lambda name: standing(last[name]))
    # Not only who leads: with one draw and one seed a small lead is luck.
    values = ", ".join(f"{name} {_said(record)}" for name, record in last.items())
    verdict = "the recommended location leads" if leader == mine else f"{leader} leads"
    if len(last) == 1 or all(isnan(record.score) for record in last.values()):
        verdict = "nothing to compare with"
    return (
        f"at {_edits(last[mine]):,} edits: {values}; {verdict} (recipes of S, one draw, one seed)"
    )


def _said(record: TrialRecord) -> str:
    ratio = number(record.measure("perplexity_ratio").value)
    missed = ", misses a bound" if record.violated else ""
    return f"{number(record.score)} (perplexity ratio {ratio}{missed})"


def _edits(record: TrialRecord) -> int:
    return len(record.trial.edits)


def _series(name: str, records: Curve, measure: str) -> Series:
    return Series(
        name,
        tuple(float(_edits(record)) for record in records),
        tuple(record.measure(measure).value if measure else record.score for record in records),
        tuple(_hover(name, record) for record in records),
        hollow=tuple(bool(record.violated) for record in records),
    )


def _hover(name: str, record: TrialRecord) -> str:
    values = [f"{title_of(m)} {number(record.measure(m).value)}" for m in VALUES]
    head = [name, f"{_edits(record):,} edits, lr {rate(record.trial.recipe.lr)}"]
    missed = map(in_words, record.violated)
    return "\n".join([*head, f"score {number(record.score)}", *values, *missed])


def _row(name: str, record: TrialRecord) -> tuple[TableCell, ...]:
    measured = (figure_cell(record.measure(m).value, names(record.violated, m)) for m in VALUES)
    missed = "; ".join(map(in_words, record.violated))
    return (
        TableCell(name),
        TableCell(f"{_edits(record):,}", _edits(record)),
        TableCell(rate(record.trial.recipe.lr), record.trial.recipe.lr),
        figure_cell(record.score),
        *measured,
        TableCell(missed, alarm=bool(missed)),
    )
