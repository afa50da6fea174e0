"""The report of one run as one self-contained page: no requests, opens offline."""

import json
from functools import cache
from typing import Any

import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from locscope.records import Recommendation
from locscope.report.data import rows, words
from locscope.report.data.count_rows import count_line, counts_table
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.objective_rows import bounds_table, objective_table
from locscope.report.data.page.answers import answers, headline
from locscope.report.data.page.apply import snippets
from locscope.report.data.page.locations import location_details
from locscope.report.data.protocol_rows import (
    asked_protocols,
    panels_table,
    protocol_line,
    side_by_side,
)
from locscope.report.data.recommendation_rows import (
    contenders_table,
    fits_table,
    key_cards,
    recipes_table,
)
from locscope.report.data.scan_heatmaps import fact_data
from locscope.report.data.scan_rows import scans_table
from locscope.report.data.scorecard_rows import scorecard_lines, verdict_lines, verdicts_table
from locscope.report.data.verdict import margin_lines, verdict_of
from locscope.report.draw.gallery import Drawn, panels, specification
from locscope.report.output.scan_sections import scan_sections
from locscope.runs.private import without_home

MOST_BYTES = 7_500_000
"""Of a page, less half a megabyte for its texts and small tables."""
FACT_BYTES, DETAIL_BYTES, ROW_BYTES = 1_000_000, 1_500_000, 560
"""Of all maps of tokens and of all locations in detail at most, and of a row of the trials."""
FEWEST_TRIALS = 300
"""That have a row, however large the figures are."""
Figures = dict[str, list[dict[str, Any]]]
"""By panel, its views as plain data."""


def render_report(inputs: ReportInputs) -> str:
    """The whole page as text."""
    drawn, recommendation, sections = panels(inputs), inputs.recommendation, titles(inputs)
    figures = specifications(drawn)
    outcomes = rows.outcomes_table(inputs)
    room = max(0, MOST_BYTES - len(_plotly()) - len(script_json(figures)) - _bytes_of(outcomes))
    trials = rows.trials_table(inputs, max(FEWEST_TRIALS, room // 2 // ROW_BYTES))
    room = max(0, room - len(trials.rows) * ROW_BYTES)
    _add_facts(figures, drawn, min(FACT_BYTES, 2 * room // 5))
    return render(
        "template.html",
        drawn,
        figures,
        location_details(inputs, min(DETAIL_BYTES, room // 2)),
        inputs=inputs,
        titles=sections,
        headline=headline(inputs),
        answers=answers(inputs),
        snippets=snippets(inputs),
        command=without_home(inputs.run.command),
        verdict=verdict_of(inputs),
        margins=margin_lines(inputs),
        cards=key_cards(inputs),
        made=_made(recommendation),
        notes=[words.sentence(note) for note in recommendation.notes] if recommendation else [],
        fits=fits_table(recommendation),
        contenders=rows.transposed(contenders_table(recommendation)),
        objective=objective_table(inputs),
        bounds=bounds_table(inputs),
        recipes=recipes_table(inputs),
        panels_table=panels_table(inputs),
        side_by_side=side_by_side(inputs),
        asked=asked_protocols(inputs),
        protocol_line=words.sentence(protocol_line(inputs)),
        counts=counts_table(inputs),
        count_line=words.sentence(count_line(inputs)),
        trials=trials,
        outcomes=outcomes,
        verdicts=verdicts_table(inputs),
        verdict_lines=verdict_lines(inputs),
        judged=scorecard_lines(inputs.scorecard),
        scans=scans_table(inputs.scans),
        sections=scan_sections(inputs),
        protocols=rows.protocols_table(inputs),
        provenance=rows.provenance_tables(inputs),
        version=version_of(inputs),
    )


def _bytes_of(table: rows.Table) -> int:
    """About how many a table with long texts takes in the page."""
    texts = sum(len(cell.text.encode()) for row in table.rows for cell in row if cell.sort is None)
    return texts + len(table.rows) * ROW_BYTES


def titles(inputs: ReportInputs) -> dict[str, str]:
    """The sections of the page that have something to say, by the id of each."""
    recommended, tuned = inputs.best is not None, not inputs.only_scans
    asked = bool(inputs.panels) or bool(counts_table(inputs).rows)
    sections = (
        ("answer", "In short", recommended),
        ("apply", "Apply it", recommended),
        ("places", "What each location did", tuned),
        ("contenders", "Held out", recommended),
        ("elsewhere", "Asked otherwise, and on other numbers of edits", asked),
        ("scans", "Scans, and whether they predicted it" if tuned else "Scans", True),
        ("trials", "Trials", tuned),
        ("outcomes", "Edit by edit", tuned),
        ("protocols", "How it was measured", tuned),
        ("provenance", "Reproduce", True),
    )
    return {name: title for name, title, there in sections if there}


def _made(recommendation: Recommendation | None) -> str:
    """The edits that will be made, in words."""
    if recommendation is None or recommendation.deployment is None:
        return "held-out edits"
    made = recommendation.deployment
    few = f" of {made.given:,}" if made.edits < made.given else ""
    return f"{made.edits:,}{few} edits"


def version_of(inputs: ReportInputs) -> str:
    """The package's version that made the records."""
    recorded = inputs.run.versions.get("locscope", "")
    return inputs.recommendation.version if inputs.recommendation else recorded


def specifications(drawn: dict[str, tuple[Drawn, ...]]) -> Figures:
    """All views of all panels as plain data."""
    return {name: [specification(view) for view in views] for name, views in drawn.items()}


def render(
    template: str,
    drawn: dict[str, tuple[Drawn, ...]],
    figures: Figures,
    details: dict[str, Any] | None = None,
    **values: Any,
) -> str:
    """A template with its figures and the library that draws them inlined."""
    return (
        _environment()
        .get_template(template)
        .render(
            panels=drawn,
            figures=script_json(figures),
            details=script_json(details or {}),
            located=bool(details),
            plotly=_plotly() if drawn or details else "",
            words=words,
            **values,
        )
    )


def _add_facts(figures: Figures, drawn: dict[str, tuple[Drawn, ...]], most: int) -> None:
    """Puts the maps of further facts beside each first one, of as many facts as have room."""
    pairs = [
        (spec, view.facts)
        for name, views in drawn.items()
        for spec, view in zip(figures[name], views, strict=True)
        if len(view.facts) > 1
    ]
    data = [(spec, facts[0].part, [fact_data(fact) for fact in facts]) for spec, facts in pairs]
    sizes = [len(json.dumps(fact)) for _, _, facts in data for fact in facts]
    fitting = max(1, most * len(sizes) // sum(sizes) // len(data)) if data else 0
    for spec, part, facts in data:
        # Whoever reads has to know that there are others.
        rest = len(facts) - fitting
        note = f" {rest} more facts are in the run's records." if rest > 0 else ""
        key = spec["note"].partition(" One prompt,")[0]
        spec |= {"part": part, "key": key + note, "facts": facts[:fitting]}


def script_json(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it can end the element."""
    # A NaN is no JSON: the browser would refuse the whole page.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for risky in "<\u2028\u2029":
        text = text.replace(risky, f"\\u{ord(risky):04x}")
    return Markup(text)


@cache
def _plotly() -> Markup:
    # The library is not ours to escape; it must not hold the end of its own element.
    return Markup(plotly.offline.get_plotlyjs().replace("</script", "<\\/script"))


@cache
def _environment() -> Environment:
    loader = PackageLoader("locscope.report.output", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        # A misspelt name in a template is an error and not an empty spot.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Runs of earlier versions have the home folder of who made them in their records.
    environment.filters["home"] = without_home
    return environment
