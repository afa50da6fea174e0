import json
from dataclasses import replace
from io import StringIO
from math import nan

import pytest
import report_factory as factory
from rich.console import Console

from locscope.records import Margin
from locscope.report.data import words
from locscope.report.data.recommendation_rows import contenders_table, fits_table, key_cards
from locscope.report.data.rows import (
    outcomes_table,
    protocols_table,
    trials_table,
)
from locscope.report.data.scorecard_rows import (
    scorecard_lines,
    verdict_counts,
    verdict_lines,
    verdicts_table,
)
from locscope.report.data.verdict import margin_lines, verdict_of
from locscope.report.output.terminal import search_json, terminal_summary


def texts(row):
    return [cell.text for cell in row]


def test_trials_best_first_with_reasons():
    trials = (
        factory.trial("L0.mlp", status="loss not finite"),
        factory.trial("L1.mlp", score=0.25, ratio=1.5, violated=(factory.BROKEN,)),
        factory.trial("L2.mlp", score=0.75),
    )
    table = trials_table(factory.inputs(trials=trials))
    assert [row[0].text for row in table.rows] == ["L2.mlp", "L1.mlp", "L0.mlp"]
    note = table.columns.index("note")
    assert [row[note].text for row in table.rows] == [
        "",
        "perplexity ratio 1.2 is above 1.05",
        "loss not finite",
    ]
    ratio = table.columns.index("perplexity ratio")
    assert [row[ratio].alarm for row in table.rows] == [False, True, False]
    assert texts(table.rows[2])[5:12] == ["–"] * 7
    assert table.numeric[ratio]
    assert not table.numeric[note]


def test_looks_come_after_trials_that_were_run_whole():
    whole = factory.trial("L1.mlp", score=0.2, ratio=1.5, violated=(factory.BROKEN,))
    better = factory.trial("L0.mlp", score=0.9)
    look = replace(better, trial=replace(better.trial, rung="rung 1", quick=True))
    trials = (look, whole)
    table = trials_table(factory.inputs(trials=trials))
    assert [row[0].text for row in table.rows] == ["L1.mlp", "L0.mlp"]


def test_outcomes_are_means_over_repetitions_worst_first():
    trials = tuple(
        factory.trial(
            "L6.mlp.down",
            6e-4,
            split="T",
            seed=seed,
            outcomes=(
                factory.outcome("fine", False, False),
                factory.outcome("half", seed == 0, True),
            ),
        )
        for seed in range(2)
    )
    other = factory.trial(
        "L7.mlp.down", 6e-4, split="T", outcomes=(factory.outcome("x", True, True),)
    )
    table = outcomes_table(factory.inputs(trials=(*trials, other), edits=()))
    assert texts(table.rows[0]) == [
        "half", "2", "0.500", "0.500", "0.750", "0.500", "–", "–", "Paris",
        "The capital of Germany is",
    ]  # fmt: skip
    assert table.rows[1][0].text == "fine"
    assert table.note.startswith("2 edits in 2 repetitions")


def test_without_recommendation_nothing_is_made_up():
    inputs = factory.inputs(recommendation=None, scorecard=None, scans=(), trials=())
    assert key_cards(inputs).rows == ()
    assert contenders_table(None).rows == ()
    assert outcomes_table(inputs).rows == verdicts_table(inputs).rows == ()
    assert verdict_of(inputs).kind == "none"
    assert json.loads(search_json(inputs))["recommendation"] is None


def test_cards_show_the_edits_to_be_made_beside_untouched_and_held_out():
    score, reliability, *_ = map(texts, key_cards(factory.inputs()).rows)
    assert score[:3] == ["score", "0.880", "[0.860, 0.900]"]
    assert score[3] == "held out 0.920 [0.890, 0.950]"
    assert reliability[1] == "0.930"
    assert reliability[3] == "untouched 0.000, held out 0.970"
    assert reliability[4].endswith("120 judged")


def test_without_a_deployment_cards_show_what_was_held_out():
    inputs = factory.inputs(recommendation=factory.recommendation(deployment=None))
    assert texts(key_cards(inputs).rows[0])[1:3] == ["0.920", "[0.890, 0.950]"]


def test_fits_say_what_was_tried_and_what_it_broke():
    table = fits_table(factory.recommendation())
    assert "240 edits" in table.caption
    assert [texts(row)[1:4] for row in table.rows] == [
        ["0.0006", "60", "0.840"],
        ["0.0018", "60", "0.900"],
        ["0.0006", "30", "0.870"],
    ]
    assert [row[-1].alarm for row in table.rows] == [False, True, False]
    assert fits_table(None).rows == fits_table(factory.recommendation(deployment=None)).rows == ()


def test_protocols_are_told_apart():
    table = protocols_table(factory.inputs())
    assert [row[1].text for row in table.rows] == list(factory.PROTOCOLS.values())


def test_the_scorecard_puts_scans_that_predict_first_and_says_why():
    table = verdicts_table(factory.inputs())
    assert [row[0].text for row in table.rows] == ["gradient", "depth", "gradient", "random"]
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert first["variant"].text == "norm"
    assert first["within part"].text == "0.410 [0.310, 0.510]"
    assert first["within part"].sort == 0.41
    assert first["verdict"].text == "predicts here"
    kinds, lines = zip(*verdict_lines(factory.inputs()), strict=True)
    assert kinds[:2] == ("Weight gradient, norm:", "depth, later is better:")
    assert lines[0] == "Predicts here: 0.41 within a part."
    assert first["resampled"].text == "yes"
    assert texts(table.rows[1])[4] == "– [0.060, 0.160]"
    assert table.numeric[table.columns.index("added R2")]


def test_the_scorecard_says_what_it_rests_on():
    lines = scorecard_lines(factory.scorecard())
    assert lines[0].endswith("candidate (47 locations, 30 edits in 24 groups).")
    assert "agree to 0.800 [0.600, 0.900]" in lines[2]
    assert lines[-1].startswith("2 of 47 locations broke a bound")
    assert scorecard_lines(None) == ()
    assert verdict_counts(factory.scorecard()) == (
        "predicts here: 1 (gradient norm); predicts, but no more than depth: 1; cannot tell: 1; "
        "does not: 1"
    )


def test_contenders_table_has_margins():
    table = contenders_table(factory.recommendation())
    assert table.caption.endswith("24 edits at a time")
    assert table.note == "Chosen: best of the finalists on S and V (0.915 over 3 trials)."
    columns = [table.columns.index(f"score on {split}") for split in "SVT"]
    assert [table.rows[0][i].text for i in columns] == ["0.930", "0.910", "0.920"]
    assert [table.rows[2][i].text for i in columns] == ["0.820", "–", "0.810"]
    assert table.rows[0][-1].text == ""
    assert table.rows[2][-1].text == "0.110 [0.070, 0.150]"
    assert table.rows[2][table.columns.index("perplexity ratio")].alarm


DRAWN = (factory.recommendation().contenders[-1],) * 3


def over_chance(value: float) -> Margin:
    """The margin over the mean of three random locations."""
    return Margin("random", "mean of 3 random locations", value, value - 0.1, value + 0.1, "p")


@pytest.mark.parametrize(
    ("changes", "kind", "badge"),
    [
        ({}, "met", "Meets all bounds on 240 edits"),
        ({"tie": True}, "tie", "Meets all bounds on 240 edits; a tie with the runner-up, held out"),
        (
            {"met": False, "missed": (factory.BROKEN,)},
            "missed",
            "Misses a bound: perplexity ratio 1.2 is above 1.05",
        ),
        (
            {"randoms": DRAWN, "ahead": ("L5.mlp", "L1.mlp"), "margins": (over_chance(0.02),)},
            "tie",
            "Meets all bounds on 240 edits; 2 of 3 random locations did better, held out",
        ),
        (
            {"randoms": DRAWN, "ahead": ("L5.mlp",), "margins": (over_chance(-0.02),), "tie": True},
            "tie",
            "Meets all bounds on 240 edits; a tie with the runner-up, held out; the mean of 3 "
            "random locations did better, held out",
        ),
        (
            {
                "randoms": DRAWN,
                "margins": (over_chance(-0.02),),
                "met": False,
                "missed": (factory.BROKEN,),
            },
            "missed",
            "Misses a bound: perplexity ratio 1.2 is above 1.05; the mean of 3 random locations "
            "did better, held out",
        ),
    ],
)
def test_verdicts(changes, kind, badge):
    verdict = verdict_of(factory.inputs(recommendation=factory.recommendation(**changes)))
    assert (verdict.kind, verdict.badge) == (kind, badge)


def test_margins_in_words():
    assert margin_lines(factory.inputs())[1] == "over depth-rule L5.mlp.down: +0.110 [0.070, 0.150]"


def test_terminal_summary_keeps_square_brackets_of_prompts():
    found = factory.recommendation(sentence="Tune [bold]L6[/bold] for [red] facts.")
    out = StringIO()
    console = Console(file=out, width=100)
    console.print(terminal_summary(factory.inputs(recommendation=found)))
    assert "Tune [bold]L6[/bold] for [red] facts." in out.getvalue()
    assert "[0.890, 0.950]" in out.getvalue()
    console.print(terminal_summary(factory.inputs(recommendation=None)))
    assert "No recommendation" in out.getvalue()


def test_search_json_is_pure():
    payload = json.loads(search_json(factory.inputs()))
    assert payload["schema"] == 1
    assert payload["location"] == "L6.mlp.down"
    assert payload["measures"]["locality"]["before"] == 1.0
    assert payload["measures"]["kl"]["before"] is None


@pytest.mark.parametrize(
    ("value", "written"),
    [(nan, "–"), (0.5, "0.500"), (0, "0.000"), (2e-5, "2.00e-05"), (123.44, "123.4"),
     (4.1e5, "4.10e+05"), (float("inf"), "∞")],
)  # fmt: skip
def test_numbers(value, written):
    assert words.number(value) == written


def test_score_says_what_it_holds():
    assert words.score_title("harmonic(reliability, locality)") == (
        "harmonic mean of reliability, locality"
    )
    assert words.score_title("nothing measured") == "nothing measured"


def test_durations_and_counts():
    assert [words.duration(s) for s in (0.84, 42, 200, 7500, nan)] == [
        "0.8 s", "42 s", "3 min 20 s", "2 h 05 min", "–",
    ]  # fmt: skip
    assert [words.millions(n) for n in (812, 16_384, 8e9)] == ["812", "16.4k", "8.0B"]
