import itertools
from functools import partial
from math import inf, isnan, log10, nan

import pytest
import report_factory as factory

from locscope.report.data.heatmaps import (
    COLLAPSE_VIEWS,
    EFFICACY_VIEWS,
    placed,
    ticks_among,
    trial_heatmaps,
)
from locscope.report.data.page.bars import bars_of
from locscope.report.draw.heatmaps import draw_heatmap


def small(*trials, layers=2, **changes):
    given = {"recommendation": None, "scans": (), "scorecard": None} | changes
    return factory.inputs(run=factory.run(layers=layers), trials=trials, **given)


def test_score_over_layers_and_parts():
    inputs = small(
        factory.trial("L0.mlp", score=0.25),
        factory.trial("L1.mlp.down", score=0.5),
        factory.trial("L1.mlp", score=0.75),
    )
    score = trial_heatmaps(inputs, EFFICACY_VIEWS)[0]
    assert (score.rows, score.columns) == (("0", "1"), ("mlp.down", "mlp"))
    assert isnan(score.values[0][0])
    assert score.values[0][1] == 0.25
    assert score.values[1] == (0.5, 0.75)
    assert score.cells == (("", "0.25"), ("0.50", "0.75"))
    assert score.hover[0][0] == "L0.mlp.down\nnot tried"


def test_only_the_widest_rung_and_never_the_reporting_split_is_shown():
    inputs = small(
        factory.trial("L0.mlp", score=0.2),
        factory.trial("L1.mlp", score=0.3),
        factory.trial("L1.mlp", score=0.9, rung="rates"),
        *(factory.trial(f"L{n}.attn", split="T", rung="report") for n in range(5)),
    )
    score = trial_heatmaps(inputs, EFFICACY_VIEWS)[0]
    assert score.values == ((0.2,), (0.3,))


def test_of_two_trials_of_a_location_the_better_is_shown_and_nan_loses():
    locations = (factory.trial("L0.mlp", score=s, seed=n) for n, s in enumerate((nan, 0.4, 0.3)))
    score = trial_heatmaps(small(*locations), EFFICACY_VIEWS)[0]
    assert score.values[0] == (0.4,)


def test_ranges_heads_and_joined_locations_are_bars_over_their_layers():
    names = ("L0.mlp", "L0-1.mlp", "L0.attn.h1", "L0.mlp+L1.attn")
    found = factory.recommendation(contenders=(factory.contender("recommended", "L0-1.mlp", 1),))
    trials = [factory.trial(name, score=n / 4) for n, name in enumerate(names)]
    score = trial_heatmaps(small(*trials, layers=3, recommendation=found), EFFICACY_VIEWS)[0]
    assert score.columns == ("mlp", "mlp range", "attn heads", "joined")
    assert [row[1] for row in score.values[:2]] == [0.25, 0.25]
    assert isnan(score.values[2][1])
    # A number once, no cross where there is no bar, and the whole bar outlined.
    assert [row[1] for row in score.cells] == ["", "0.25", ""]
    assert [row[1] for row in score.locations] == ["L0-1.mlp", "L0-1.mlp", ""]
    assert (score.recommended, score.recommended_rows) == ((0, 1), 2)
    figure = draw_heatmap(score)
    assert ("mlp range", "2") not in set(zip(figure.data[-1].x, figure.data[-1].y, strict=True))
    outline = figure.layout.shapes[-1]
    assert (outline.x0, outline.x1, outline.y0, outline.y1) == (0.5, 1.5, -0.5, 1.5)


def test_bars_that_would_meet_stand_in_lanes_of_their_own():
    names = ("L0-3.mlp", "L2-3.mlp", "L0-1.mlp", "L1-2.mlp", "L4-5.mlp")
    assert {bar.location: bar.lane for bar in bars_of(names)} == {
        "L0-3.mlp": "mlp range", "L4-5.mlp": "mlp range", "L0-1.mlp": "mlp range 2",
        "L2-3.mlp": "mlp range 2", "L1-2.mlp": "mlp range 3",
    }  # fmt: skip


def test_what_is_recommended_is_outlined_though_the_rung_did_not_try_it():
    for location, columns in (("L1.attn", ("mlp", "attn")), ("L0-1.attn", ("mlp", "attn range"))):
        best = factory.contender("recommended", location, 0.9)
        found = factory.recommendation(contenders=(best,))
        score = trial_heatmaps(small(factory.trial("L0.mlp"), recommendation=found), EFFICACY_VIEWS)
        assert score[0].columns == columns
        assert score[0].recommended == (1 if location == "L1.attn" else 0, 1)
        assert "not tried" in score[0].hover[1][1]


def test_perplexity_is_placed_by_its_excess_and_capped_with_the_true_value_kept():
    inputs = small(factory.trial("L0.mlp", ratio=1.1), factory.trial("L1.mlp", ratio=5e4))
    heatmap = trial_heatmaps(inputs, COLLAPSE_VIEWS)[0]
    assert heatmap.values[0][0] == pytest.approx(log10(0.1))
    assert heatmap.values[1][0] == pytest.approx(log10(10))
    assert heatmap.cells[1][0] == "5e4"
    assert "perplexity ratio 5.00e+04 (before 1.000)" in heatmap.hover[1][0]
    assert heatmap.ticks[-1] == (1.0, "≥11")
    assert heatmap.good == -1


def test_scales_take_anything():
    ratio = partial(placed, "perplexity_ratio")
    assert ratio(0.9) == ratio(1.001) == pytest.approx(-3)
    assert ratio(inf) == pytest.approx(1)
    assert isnan(ratio(nan))
    assert placed("kl", 0) == pytest.approx(-4)
    assert placed("reliability", 0.5) == 0.5
    assert ticks_among("kl", [nan]) == ticks_among("reliability", [0.5]) == ()


def test_ticks_keep_their_distance():
    locations = [tick for tick, _ in ticks_among("perplexity_ratio", [-3, 1])]
    assert len(locations) > 3
    assert min(b - a for a, b in itertools.pairwise(locations)) >= 4 / 7


def test_recommended_cell_is_marked():
    heatmap = trial_heatmaps(factory.inputs(), EFFICACY_VIEWS)[0]
    assert heatmap.recommended == (6, heatmap.columns.index("mlp.down"))


def test_views_nobody_measured_are_left_out():
    assert trial_heatmaps(small(factory.trial(status="broke")), EFFICACY_VIEWS) == ()
    assert trial_heatmaps(small(), EFFICACY_VIEWS) == ()


def test_failed_trial_says_why_on_hover():
    inputs = small(factory.trial("L0.mlp"), factory.trial("L1.mlp", status="loss not finite"))
    heatmap = trial_heatmaps(inputs, EFFICACY_VIEWS)[0]
    assert heatmap.hover[1][0].endswith("loss not finite")
