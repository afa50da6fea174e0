from dataclasses import replace

import pytest
from scan_worlds import SCAN_EDITS, scan_context

from locscope.scans.run import run_scan
from locscope.selection.candidates import depth_rule

FEW = SCAN_EDITS[:1]


def scored(name, context):
    result = run_scan(name, context)
    assert {(s.layer, s.part) for s in result.scores} == {
        (location.layer, location.part) for location in context.loaded.info.grid
    }
    return {(s.layer, s.part): s.score for s in result.scores}


@pytest.mark.parametrize(
    ("family", "layer"), [("llama", 4), ("mistral", 4), ("qwen2", 1), ("gpt2", 4)]
)
def test_the_depth_rules_layer_is_on_top_and_others_fall_off_by_distance(family, layer):
    changes = {"layer_types": None, "num_hidden_layers": 6}
    context = scan_context(family, FEW, **changes)
    scores = scored("depth-rule", context)
    assert depth_rule(context.loaded.info).lowest == layer
    for (at, _), score in scores.items():
        assert score == pytest.approx(1 - abs(at - layer) / 6)
    assert f"L{layer}." in run_scan("depth-rule", context).settings


def test_random_scores_differ_by_location_and_seed():
    context = scan_context("llama", FEW)
    scores = scored("random", context)
    assert all(0 <= score < 1 for score in scores.values())
    assert len(set(scores.values())) == len(scores)
    assert scored("random", context) == scores
    other = scored("random", replace(context, seed=1))
    assert all(other[location] != score for location, score in scores.items())


@pytest.mark.parametrize("name", ["depth-rule", "random"])
def test_they_use_every_edit_and_have_no_values(name):
    result = run_scan(name, scan_context("llama", SCAN_EDITS))
    assert (result.requests, result.usable) == (len(SCAN_EDITS),) * 2
    assert all(score.values == () for score in result.scores)
