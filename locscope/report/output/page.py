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
from locscope.report.data.protocol_rows import panels_table, protocol_line
from locscope.report.data.recommendation_rows import (
    contenders_table,
    fits_table,
    key_cards,
    recipes_table,
)
from locscope.report.data.scan_rows import scans_table
from locscope.report.data.scorecard_rows import scorecard_lines, verdicts_table
from locscope.report.data.verdict import margin_lines, verdict_of
from locscope.report.draw.gallery import Drawn, panels, specification
from locscope.report.output.scan_sections import scan_sections


def render_report(inputs: ReportInputs) -> str:
    """The whole page as text."""
    drawn, recommendation = panels(inputs), inputs.recommendation
    return render(
        "template.html",
        drawn,
        inputs=inputs,
        verdict=verdict_of(inputs),
        margins=margin_lines(inputs),
        cards=key_cards(inputs),
        made=_made(recommendation),
        notes=[words.sentence(note) for note in recommendation.notes] if recommendation else [],
        fits=fits_table(recommendation),
        contenders=contenders_table(recommendation),
        objective=objective_table(inputs),
        bounds=bounds_table(inputs),
        recipes=recipes_table(inputs),
        panels_table=panels_table(inputs),
        protocol_line=words.sentence(protocol_line(inputs)),
        counts=counts_table(inputs),
        count_line=words.sentence(count_line(inputs)),
        trials=rows.trials_table(inputs),
        outcomes=rows.outcomes_table(inputs),
        verdicts=verdicts_table(inputs),
        judged=scorecard_lines(inputs.scorecard),
        scans=scans_table(inputs.scans),
        sections=scan_sections(inputs),
        protocols=rows.protocols_table(inputs),
        provenance=rows.provenance_tables(inputs),
        version=version_of(inputs),
    )


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


def render(template: str, drawn: dict[str, tuple[Drawn, ...]], **values: Any) -> str:
    """A template with its figures and the library that draws them inlined."""
    figures = {name: [specification(view) for view in views] for name, views in drawn.items()}
    return (
        _environment()
        .get_template(template)
        .render(
            panels=drawn,
            figures=script_json(figures),
            plotly=_plotly() if drawn else "",
            words=words,
            **values,
        )
    )


def script_json(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it can end the element."""
    # A NaN is no JSON: the browser would refuse the whole page.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for risky in "<>&\u2028\u2029":
        text = text.replace(risky, f"\\u{ord(risky):04x}")
    return Markup(text)


@cache
def _plotly() -> Markup:
    # The library is not ours to escape; it must not hold the end of its own element.
    return Markup(plotly.offline.get_plotlyjs().replace("</script", "<\\/script"))


@cache
def _environment() -> Environment:
    loader = PackageLoader("locscope.report.output", "templates")
    return Environment(
        loader=loader,
        autoescape=True,
        # A misspelt name in a template is an error and not an empty spot.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
