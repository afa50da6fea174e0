from dataclasses import replace
from math import nan

import pytest
import report_factory as factory

from locscope.records import ScanScore
from locscope.report.data.curves import (
    depth_spans,
    loss_curves,
    rate_curves,
    scan_outcomes,
    verdict_line,
)
from locscope.report.draw.figures import draw_chart
from locscope.report.draw.gallery import panels


def test_rate_curves_sort_rates_and_show_bounds_missed():
    trials = (
        factory.trial("L1.mlp", 3e-3, 0.25, violated=(factory.BROKEN,)),
        factory.trial("L1.mlp", 1e-3, 0.5),
        factory.trial("L0.mlp", 1e-3, 0.75),
    )
    (curve,) = rate_curves(factory.inputs(trials=trials)).series
    assert curve.name == "L1.mlp"
    assert (curve.x, curve.y, curve.hollow) == ((1e-3, 3e-3), (0.5, 0.25), (False, True))


def test_ticks_of_near_rates_do_not_lie_over_each_other():
    rates = (1e-4, 1.05e-4, 1.1e-4, 3e-4, 3.1e-4, 1e-3)
    trials = tuple(factory.trial("L1.mlp", lr, 0.5) for lr in rates)
    axis = draw_chart(rate_curves(factory.inputs(trials=trials))).layout.xaxis
    assert axis.tickvals == (1e-4, 3e-4, 1e-3)


def test_rate_curves_do_not_mix_numbers_of_edits():
    trials = (
        factory.trial("L1.mlp", 1e-4, 0.9, edits=("a",)),
        factory.trial("L1.mlp", 1e-3, 0.5, rung="rates", edits=("a", "b")),
        factory.trial("L1.mlp", 3e-3, 0.6, rung="rates", edits=("a", "b")),
        factory.trial("L1.mlp", 9e-3, 0.6, split="T", edits=("a", "b")),
    )
    (curve,) = rate_curves(factory.inputs(trials=trials)).series
    assert curve.x == (1e-3, 3e-3)


def test_loss_curve_is_that_of_the_best_rate():
    good, bad = factory.trial(lr=1e-3, score=0.9), factory.trial(lr=2e-3, score=nan)
    good = replace(good, epochs=good.epochs[:2])
    (curve,) = loss_curves(factory.inputs(trials=(bad, good))).series
    assert curve.x == (1.0, 2.0)
    assert curve.y == tuple(epoch.loss for epoch in good.epochs)


def test_contenders_carry_intervals():
    figure = panels(factory.inputs())["contenders"][0].figure
    *contenders, rings = figure.data
    first = contenders[0]
    assert (first.x, first.y) == ((0.92,), ("recommended<br>L6.mlp.down",))
    assert (first.error_x.array[0], first.error_x.arrayminus[0]) == pytest.approx((0.03, 0.03))
    assert [trace.marker.symbol for trace in contenders] == ["diamond", *["circle"] * 3]
    assert len(rings.x) > 0
    assert "contenders" not in panels(factory.inputs(recommendation=None))


def test_scan_against_outcome_joins_whole_parts_only():
    scores = (
        ScanScore("norm", 0, "mlp", 2.0),
        ScanScore("norm", 1, "mlp", nan),
        ScanScore("norm", 0, "mlp", 9.0, head=3),
        ScanScore("norm", 5, "mlp", 9.0),
        ScanScore("lonely", 5, "mlp", 9.0),
    )
    trials = (factory.trial("L0.mlp", score=0.5), factory.trial("L1.mlp", score=0.5))
    scan = replace(factory.scan(), scores=scores)
    (chart,) = scan_outcomes(factory.inputs(scans=(scan,), trials=trials))
    assert (chart.series[0].x, chart.series[0].y) == ((2.0,), (0.5,))
    expected = "Verdict: predicts here: 0.41 within a part."
    assert chart.note == expected
    assert verdict_line(None) == "Not judged."


def test_depth_is_relative_to_the_highest_layer():
    joined = factory.contender("recommended", "L8-16.mlp.up+L32.attn", 0.5)
    found = factory.recommendation(contenders=(joined,))
    inputs = factory.inputs(run=factory.run(layers=33), recommendation=found)
    first, second = depth_spans([("a", inputs), ("b", factory.inputs(recommendation=None))])
    assert (first.name, first.part, first.x) == ("a", "mlp.up", (0.25, 0.5))
    assert first.y == ("a", "a")
    assert (second.part, second.x[0]) == ("attn", 1.0)


def test_a_trial_within_the_bounds_stands_above_one_that_scores_more():
    trials = (
        factory.trial(lr=1e-3, score=0.9, violated=(factory.BROKEN,)),
        factory.trial(lr=2e-3, score=0.5),
    )
    (curve,) = loss_curves(factory.inputs(trials=trials)).series
    assert "lr 0.002" in curve.hover[0]
