"""What the page holds of every location, for a click on it."""

import json
from dataclasses import replace
from math import nan

import report_factory as factory
import report_scans as scans

from locscope.records import Edit, EditOutcome
from locscope.report.data.inputs import reported
from locscope.report.data.page.locations import location_details
from locscope.report.output.page import render_report


def test_every_location_has_its_trials_and_the_recommended_comes_first():
    quick = factory.trial("L6.mlp.down", rung="rung 1")
    quick = replace(quick, trial=replace(quick.trial, quick=True))
    inputs = factory.inputs(trials=(*factory.inputs().trials, quick))
    found = location_details(inputs)
    names = [str(record.trial.location) for record in inputs.trials]
    assert next(iter(found["trials"])) == found["recommended"] == "L6.mlp.down"
    assert {name: len(trials) for name, trials in found["trials"].items()} == {
        name: names.count(name) for name in names
    }
    mine = found["trials"]["L6.mlp.down"]
    # Held out first, then those that chose; a quick look last and marked.
    assert [t["split"] for t in mine[:6]] == ["T"] * 5 + ["S"]
    assert [t["quick"] for t in mine[-2:]] == [False, True]
    assert found["roles"]["L5.mlp.down"] == ["depth-rule"]
    assert len(mine[0]["losses"]) == 12
    assert location_details(factory.inputs(trials=())) == {}


def test_failed_edits_and_broken_neighbours_are_named_with_their_prompts():
    found = location_details(factory.inputs())
    trial = found["trials"]["L6.mlp.down"][0]
    assert (trial["judged"], trial["failed"], trial["broke"], len(trial["listed"])) == (24, 2, 2, 3)
    edit, reliability, probability, output, broken = trial["listed"][0]
    assert found["texts"][edit] == "e3: The capital of country e3 is → Ljubljana"
    assert (reliability, probability, found["texts"][output]) == (0.0, None, "Paris")
    assert [found["texts"][index] for index in broken] == ["The capital of Germany is"]
    json.dumps(found, allow_nan=False)


def test_what_does_not_fit_is_counted_and_not_listed():
    outcomes = tuple(
        EditOutcome(f"e{n}", 0.0, 0.0, nan, 0.0, "x" * 400, (f"neighbour {n} " + "y" * 400,))
        for n in range(100)
    )
    trials = tuple(
        factory.trial(f"L{n}.mlp", split="T", outcomes=outcomes, edits=factory.EDITS)
        for n in range(8)
    )
    inputs = factory.inputs(trials=trials, recommendation=None)
    full, cut, none = (location_details(inputs, most) for most in (10**7, 25_000, 5_000))
    listed = [len(d["trials"]["L0.mlp"][0]["listed"]) for d in (full, cut, none)]
    assert listed == [60, 25, 0]
    assert none["trials"]["L0.mlp"][0]["failed"] == 100
    assert all(len(text) <= 300 for text in full["texts"])


def test_the_largest_page_is_under_eight_megabytes():
    """80 layers, 1600 trials with 100 failed edits in a quarter of them, 100 facts traced."""
    outcomes = tuple(
        EditOutcome(f"e{n}", 0.0, 0.0, 0.5, 0.0, f"answer {n} " * 4, (f"neighbour {n} " * 6,))
        for n in range(100)
    )
    swept = factory.sweep_trials(80)
    quick = tuple(
        replace(t, trial=replace(t.trial, rung=f"rung {n}", quick=True))
        for n in (1, 2, 3)
        for t in swept
    )
    full = tuple(replace(record, outcomes=outcomes) for record in swept)
    traced = scans.causal(80)
    tokens = replace(
        scans.token_map("mlp", 80), tokens=("  token",) * 24, values=((0.123,) * 24,) * 80
    )
    maps = tuple(
        replace(tokens, edit=f"e{n}", part=part)
        for n in range(100)
        for part in ("mlp", "attn", "block")
    )
    inputs = factory.inputs(
        run=factory.run(layers=80),
        trials=(*quick, *full, *factory.finalist_trials()),
        scans=(scans.heads(layers=80, count=64), replace(traced, maps=maps)),
    )
    page = render_report(inputs)
    assert len(page.encode()) < 8_000_000
    # Several facts can be chosen, though not all hundred fit.
    assert page.count('"edit":"e1"') == 3


def test_a_page_on_very_many_edits_with_long_texts_is_under_eight_megabytes():
    """It says how many it does not show."""
    ids = [f"e{n}" for n in range(20_000)]
    outcomes = tuple(
        EditOutcome(name, 0.0, 0.0, 0.5, 0.0, f"answer {name} " * 90, (f"{name} next " * 90,))
        for name in ids
    )
    trials = tuple(replace(one, outcomes=outcomes) for one in factory.report_trials()[:2])
    edits = tuple(Edit(name, f"{name} is " * 150, "so") for name in ids)
    inputs = factory.inputs(trials=(*factory.sweep_trials(80), *trials), edits=edits)
    assert reported(inputs), "the table of edits is of these"
    page = render_report(inputs)
    assert len(page.encode()) < 8_000_000
    assert "20000 edits in" in page
    assert "The 1000 worst are shown." in page
