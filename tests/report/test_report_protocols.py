"""The recommendation under other protocols and on other numbers of edits: rows, lines, figures."""

import html
from dataclasses import replace
from io import StringIO
from math import isnan, nan

import report_factory as factory
from rich.console import Console

from locscope.locations import Location
from locscope.records import COUNT_RUNG, Measure, ProtocolResults, ProtocolRow
from locscope.report.data.count_rows import count_charts, count_curves, count_line, counts_table
from locscope.report.data.protocol_rows import (
    asked_protocols,
    panels_table,
    protocol_line,
    side_by_side,
)
from locscope.report.draw.gallery import panels
from locscope.report.output.page import render_report
from locscope.report.output.terminal import search_json, terminal_summary


def measure(name: str, value: float, before: float = 0.0) -> Measure:
    return Measure(name, value, 24, f"{name} so", value - 0.05, value + 0.05, before)


def row(name: str, reliability: float, kind: str = "protocol", **more) -> ProtocolRow:
    found = (measure("reliability", reliability),)
    if kind == "protocol":
        found += (measure("generalization", 0.5, 0.125), measure("locality", 0.75, 1.0))
    return ProtocolRow(name, f"{name} title", kind, found, **more)


ROWS = (
    row("raw", 0.96, searched=True),
    ProtocolRow("chat", "chat template", "protocol", reason="no template"),
    row("qa", 0.5),
    row("no-stop", 0.25),
    row("form: choice", 0.875, "form"),
    row("form: question", 0.625, "form"),
    row("multi-hop", 0.0, "multihop"),
)


def panel(role: str, location: str, rows=ROWS) -> ProtocolResults:
    return ProtocolResults(
        role, Location.parse(location), factory.trial().trial.recipe, "t0", 24, 0.9, rows
    )


PANELS = (panel("recommended", "L6.mlp.down"), panel("runner-up", "L7.mlp.down", ROWS[:1]))


def count_trial(location: str, count: int, score: float, **more):
    """A trial of the curve, at the recipe of the factory's contenders."""
    edits = tuple(f"e{i}" for i in range(count))
    given = {"split": "all", "rung": f"{COUNT_RUNG}{count}", "edits": edits} | more
    return factory.trial(location, 6e-4, score, **given)


COUNTS = (
    count_trial("L6.mlp.down", 20, 0.9),
    count_trial("L6.mlp.down", 5, 0.95),
    count_trial("L5.mlp.down", 5, 0.8),
    count_trial("L5.mlp.down", 20, 0.85, violated=(factory.BROKEN,), ratio=1.2),
    count_trial("L9.mlp.down", 20, 0.87),
    factory.trial("L6.mlp.down", 6e-4, 0.99),
)


def with_counts(trials=COUNTS, **more):
    return factory.inputs(trials=trials, **more)


def test_a_row_per_protocol_beside_the_untouched_model():
    table = panels_table(factory.inputs(panels=PANELS))
    assert len(table.rows) == 7
    searched, chat, _, worst, *_ = table.rows
    assert [cell.text for cell in searched] == [
        "raw: raw title", "0.960 [0.910, 1.010]", "0.000", "0.500 [0.450, 0.550]", "0.125",
        "0.750 [0.700, 0.800]", "as searched",
    ]  # fmt: skip
    assert chat[6].text == "not measured: no template"
    assert isnan(chat[1].sort)
    assert worst[1].alarm
    assert [row[6].text for row in table.rows[3:7]] == ["worst of these", "", "worst of these", ""]
    assert panels_table(factory.inputs()).rows == ()


def test_contenders_stand_beside_each_other_under_every_protocol():
    reliability, generalization, locality = side_by_side(factory.inputs(panels=PANELS))
    assert reliability.columns == ("asked", "recommended L6.mlp.down", "runner-up L7.mlp.down")
    assert [cell.text for cell in reliability.rows[0]] == ["raw: raw title", "0.960", "0.960"]
    # Who was not asked has a dash, and what nobody was asked has no row.
    assert [cell.text for cell in reliability.rows[1]] == ["qa: qa title", "0.500", "–"]
    assert (len(reliability.rows), len(generalization.rows), len(locality.rows)) == (6, 3, 3)
    assert side_by_side(factory.inputs(panels=PANELS[:1])) == ()
    assert asked_protocols(factory.inputs(panels=PANELS))[0] == ("raw: raw title", "reliability so")


def test_the_worst_of_the_recommended_in_a_line():
    assert protocol_line(factory.inputs(panels=PANELS)) == (
        "reliability as searched 0.960; worst other protocol no-stop 0.250; "
        "worst form: question 0.625; multi-hop 0.000; chat not measured: no template"
    )
    assert protocol_line(factory.inputs(panels=PANELS[1:])) == ""
    bare = (panel("recommended", "L6.mlp.down", (ROWS[0],)),)
    assert protocol_line(factory.inputs(panels=bare)) == "reliability as searched 0.960"


def test_curves_are_of_contenders_and_rise_in_edits():
    curves = count_curves(with_counts())
    assert list(curves) == [
        "recommended: L6.mlp.down", "depth-rule: L5.mlp.down", "finalist: L9.mlp.down at 0.0006",
    ]  # fmt: skip
    assert [len(r.trial.edits) for r in curves["recommended: L6.mlp.down"]] == [5, 20]
    assert count_curves(with_counts(recommendation=None)) == {}


def test_a_location_with_two_roles_has_one_curve():
    found = factory.recommendation()
    rule = replace(found.contenders[0], role="depth-rule")
    found = replace(found, contenders=(found.contenders[0], rule))
    assert list(count_curves(with_counts(recommendation=found))) == [
        "recommended, depth-rule: L6.mlp.down",
        "finalist: L5.mlp.down at 0.0006",
        "finalist: L9.mlp.down at 0.0006",
    ]  # fmt: skip


def test_charts_of_score_and_collapse_against_edits():
    score, collapse = count_charts(with_counts())
    assert score.series[0].x == (5.0, 20.0)
    assert score.series[0].y == (0.95, 0.9)
    assert score.series[1].hollow == (False, True)
    assert collapse.series[1].y == (1.02, 1.2)
    assert score.ticks == ((5.0, "5"), (20.0, "20"))
    found = panels(with_counts())
    assert {"counts", "counts-collapse"} <= set(found)
    axis = found["counts"][0].figure.layout.xaxis
    assert (axis.type, tuple(axis.ticktext)) == ("log", ("5", "20"))
    assert not {"counts", "counts-collapse"} & set(panels(factory.inputs()))


def test_who_leads_on_the_most_edits():
    assert count_line(with_counts()) == (
        "at 20 edits: recommended: L6.mlp.down 0.900 (perplexity ratio 1.020), "
        "depth-rule: L5.mlp.down 0.850 (perplexity ratio 1.200, misses a bound), "
        "finalist: L9.mlp.down at 0.0006 0.870 (perplexity ratio 1.020); "
        "the recommended location leads (recipes of S, one draw, one seed)"
    )
    better = (*COUNTS[:3], count_trial("L5.mlp.down", 20, 0.97))
    assert "; depth-rule: L5.mlp.down leads" in count_line(with_counts(better))
    assert "nothing to compare with" in count_line(with_counts(COUNTS[:2]))
    assert count_line(factory.inputs()) == ""
    unmeasured = tuple(replace(record, score=nan) for record in COUNTS)
    assert "nothing to compare with" in count_line(with_counts(unmeasured))


def test_every_number_of_edits_is_a_row():
    table = counts_table(with_counts())
    assert [(r[0].text, r[1].text) for r in table.rows] == [
        ("recommended: L6.mlp.down", "5"),
        ("recommended: L6.mlp.down", "20"),
        ("depth-rule: L5.mlp.down", "5"),
        ("depth-rule: L5.mlp.down", "20"),
        ("finalist: L9.mlp.down at 0.0006", "20"),
    ]
    assert table.rows[3][-1].alarm
    assert table.rows[3][7].alarm


def test_page_terminal_and_json_show_them():
    inputs = with_counts((*factory.inputs().trials, *COUNTS), panels=PANELS)
    page = render_report(inputs)
    for name in ("panels", "counts"):
        assert f'data-table="{name}"' in page
        assert f'data-table="{name}"' not in render_report(factory.inputs())
    assert "Worst other protocol no-stop" not in page
    assert "worst other protocol no-stop 0.250" in html.unescape(page)
    console = Console(file=StringIO(), width=300)
    console.print(terminal_summary(inputs))
    shown = console.file.getvalue()
    assert f"protocols {protocol_line(inputs)}" in shown
    assert f"edit counts {count_line(inputs)}" in shown
    assert '"panels": [' in search_json(inputs)


def test_how_many_edits_failed_and_whose_neighbours_broke():
    page = html.unescape(render_report(factory.inputs()))
    assert "24 edits in 5 repetitions" in page
    assert "6 failed at least once, neighbours of 2 broke" in page
