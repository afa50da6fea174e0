"""Efficacy against collapse, its front and knee, and what the objective asked for."""

from dataclasses import replace
from io import StringIO
from math import log10, nan

import pytest
import report_factory as factory
from rich.console import Console

from locscope.locations import Location
from locscope.records import FrontPoint, Measure
from locscope.report.data.objective_rows import objective_line, objective_table
from locscope.report.data.tradeoff import tradeoff
from locscope.report.draw.gallery import panels
from locscope.report.output.page import render_report
from locscope.report.output.terminal import terminal_summary


def texts(table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_tradeoff_by_part_leaves_out_the_unmeasured_and_says_so():
    trials = (
        factory.trial("L0.mlp", score=0.5, ratio=1.1),
        factory.trial("L0.mlp+L1.attn", score=0.25, ratio=2, violated=(factory.BROKEN,)),
        factory.trial("L1.mlp", status="broke"),
        factory.trial("L1.mlp", split="T"),
    )
    chart = tradeoff(factory.inputs(trials=trials))
    mlp, several, line = chart.series
    assert (mlp.part, several.part) == ("mlp", "several")
    assert mlp.x[0] == pytest.approx(log10(0.1))
    assert (mlp.y, several.hollow) == ((0.5,), (True,))
    assert several.hover[0].endswith("perplexity ratio 1.2 is above 1.05")
    assert (line.kind, line.y) == ("front", (0.5,))
    assert chart.note.endswith("perplexity ratio: 1.")


def test_only_trials_in_full_are_drawn():
    full = factory.trial("L0.mlp", score=0.5)
    few = factory.trial("L1.mlp", score=0.9, edits=("e0",))
    recipe = replace(full.trial.recipe, epochs=3)
    short = replace(full, trial=replace(full.trial, location="L2.mlp", recipe=recipe))
    quick = replace(full, trial=replace(full.trial, location="L3.mlp", quick=True))
    chart = tradeoff(factory.inputs(trials=(quick, few, short, full)))
    assert [len(series.x) for series in chart.series] == [1, 1]
    assert chart.series[0].hover[0].startswith("L0.mlp, ")


def pareto(**more):
    weights = dict.fromkeys(("reliability", "generalization", "locality"), 1.0)
    return replace(factory.recommendation(**more), objective="pareto", weights=weights)


def test_the_front_is_drawn_and_its_knee_marked_for_pareto_only():
    trials = tuple(
        factory.trial(f"L{i}.mlp", score=share, ratio=ratio)
        for i, (share, ratio) in enumerate([(0.2, 1.002), (0.9, 1.02), (0.8, 1.1), (1.0, 2.0)])
    )
    _, line = tradeoff(factory.inputs(trials=trials)).series
    assert line.y == pytest.approx((0.2, 0.9, 1.0))
    cloud, front, knee = tradeoff(factory.inputs(trials=trials, recommendation=pareto())).series
    assert front.y == line.y
    assert (knee.kind, knee.y) == ("knee", (pytest.approx(0.9),))
    assert knee.hover[0].startswith("knee: L1.mlp")
    assert len(cloud.x) == 4
    drawn = panels(factory.inputs(trials=trials, recommendation=pareto()))["tradeoff"][0]
    assert [trace.mode for trace in drawn.figure.data] == ["markers", "lines", "markers"]
    assert drawn.figure.data[1].line.shape == "hv"
    assert "star is its knee" in drawn.note


def test_the_front_that_the_search_chose_by_is_drawn():
    found = replace(
        factory.recommendation(), front=(FrontPoint(Location.parse("L3.mlp"), 1e-3, 0.4, 1.01),)
    )
    *_, line = tradeoff(factory.inputs(recommendation=found)).series
    assert (line.name, line.y) == ("front", (0.4,))
    assert line.hover[0].startswith("front: L3.mlp, lr 0.001")


def test_efficacy_is_weighted_as_in_the_objective():
    weights = {"reliability": 1.0, "generalization": 1.0, "locality": 2.0}
    found = replace(factory.recommendation(), weights=weights)
    trials = (factory.trial(reliability=1.0, generalization=1.0, locality=0.5),)
    cloud, _ = tradeoff(factory.inputs(trials=trials, recommendation=found)).series
    assert cloud.y == (pytest.approx(4 / 6),)


def test_a_run_without_a_recommendation_has_a_front_too():
    trials = (factory.trial("L0.mlp", score=0.5),)
    run = replace(factory.run(), settings={"objective": "pareto"})
    chart = tradeoff(factory.inputs(run=run, trials=trials, recommendation=None))
    assert [series.kind for series in chart.series] == ["points", "front", "knee"]
    assert tradeoff(factory.inputs(trials=(), recommendation=None)).series == ()


def test_weights_and_bounds_are_shown_with_what_became_of_them():
    weights = {"reliability": 1.0, "generalization": 3.0, "locality": 1.0}
    bounds = ("perplexity_ratio<=1.01", "retention>=0.95 surely", "multihop>=0.5", "forms>=0.1")
    found = replace(factory.recommendation(), weights=weights, bounds=bounds)
    made = found.deployment
    more = (*made.measures, Measure("forms", nan, 0, "not measured"))
    found = replace(found, deployment=replace(made, measures=more))
    table = objective_table(factory.inputs(recommendation=found))
    assert table.caption == "Objective: balanced"
    assert texts(table) == [
        ["reliability", "in the score, weight 1", "0.930", ""],
        ["generalization", "in the score, weight 3", "0.840", ""],
        ["locality", "in the score, weight 1", "0.880", ""],
        ["perplexity ratio", "at most 1.01", "1.030", "no"],
        ["retention", "at least 0.95, surely", "0.980", "yes"],
        ["multihop", "at least 0.5", "–", "not measured"],
        ["forms", "at least 0.1", "–", "not measured"],
    ]
    assert table.rows[3][3].alarm
    assert objective_table(factory.inputs(recommendation=None)).rows == ()


def test_page_and_terminal_say_the_objective():
    found = replace(factory.recommendation(), bounds=("perplexity_ratio<=1.01",))
    inputs = factory.inputs(recommendation=found)
    line = "objective balanced: harmonic mean of reliability, generalization, locality; "
    assert objective_line(inputs) == f"{line}bounds: perplexity_ratio<=1.01"
    assert objective_line(factory.inputs(recommendation=None)) == ""
    one = replace(found, score_name="harmonic(1/perplexity_ratio)", bounds=())
    line_of_one = objective_line(factory.inputs(recommendation=one))
    assert line_of_one == "objective balanced: 1/perplexity ratio; bounds: none"
    console = Console(file=StringIO(), width=200)
    console.print(terminal_summary(inputs))
    assert line in console.file.getvalue()
    assert 'data-table="objective"' in render_report(inputs)
