"""What every scan of the table must do; what each alone must do is in a file of its own."""

from functools import cache
from importlib import import_module
from math import isnan, nan

import numpy as np
import pytest
import torch
from families import tiny
from scan_worlds import SCAN_EDITS, scan_context
from worlds import same, snapshot

from locscope.errors import UsageError
from locscope.records import Descriptor, ScanOptions, ScanResult, dumps, loads
from locscope.scans import SCANS
from locscope.scans.context import ScanContext
from locscope.scans.cost import NAMES, passes
from locscope.scans.run import run_scan

OPTIONS = ScanOptions(samples=2)
# Random weights know no three subjects with one answer, so that a probe has nothing to learn.
MAY_BE_UNUSABLE = {"probe"}
TWO = pytest.mark.parametrize("family", ["llama", "gptneox"])
EVERY = pytest.mark.parametrize("name", SCANS)


@cache
def scanned(family: str, name: str, tokens_at_once: int = 16384) -> tuple[ScanContext, ScanResult]:
    context = scan_context(family, options=OPTIONS, tokens_at_once=tokens_at_once)
    return context, run_scan(name, context)


def test_every_entry_names_a_function_and_is_described():
    for name, entry in SCANS.items():
        module, function = entry.function.split(":")
        assert callable(getattr(import_module(module), function))
        assert entry.name == name
        assert entry.title
        assert entry.note
        assert entry.source
        assert entry.cost
        assert entry.sign in (1, -1)
        assert passes(entry.passes, dict.fromkeys(NAMES, 4.0)) >= 0


@TWO
@EVERY
def test_it_scores_locations_of_the_model_and_leaves_it_as_it_was(family, name):
    context, result = scanned(family, name)
    before = snapshot(tiny(family))
    locations = {(part.layer, part.part) for part in context.loaded.info.grid}
    heads = range(context.loaded.info.heads)
    assert result.usable <= result.requests == len(SCAN_EDITS)
    assert result.edits == context.edits
    assert bool(result.scores) == bool(result.usable)
    assert result.usable or name in MAY_BE_UNUSABLE
    for score in result.scores:
        assert (score.layer, score.part) in locations
        assert score.head == -1 or score.head in heads
    for variant in result.variants:
        assert result.of_locations(variant), f"{variant} ranks no location"
    assert same(context.loaded.model, before)
    assert all(p.grad is None and not p.requires_grad for p in context.loaded.model.parameters())
    if "hooked" in vars(context):
        assert not any(
            point.fwd_hooks or point.bwd_hooks for point in context.hooked.points.values()
        )


@TWO
@EVERY
def test_the_seed_alone_decides(family, name):
    _, result = scanned(family, name)
    again = run_scan(name, scan_context(family, options=OPTIONS))
    assert dumps(again.scores) == dumps(result.scores)
    assert again.notes == result.notes


@EVERY
def test_the_batch_decides_nothing(name):
    _, whole = scanned("llama", name)
    _, small = scanned("llama", name, tokens_at_once=40)
    assert [location_of(s) for s in whole.scores] == [location_of(s) for s in small.scores]
    for one, other in zip(whole.scores, small.scores, strict=True):
        close = pytest.approx(one.score, abs=1e-5, rel=1e-4, nan_ok=True)
        assert other.score == close, location_of(one)


@EVERY
def test_it_runs_in_half_precision(name):
    result = run_scan(name, scan_context("llama", options=OPTIONS, dtype=torch.bfloat16))
    assert result.usable or name in MAY_BE_UNUSABLE
    for variant in result.variants:
        assert any(not isnan(score.score) for score in result.of_locations(variant).values())


def location_of(score):
    return score.variant, score.layer, score.part, score.head, score.role


@EVERY
def test_scores_that_keep_their_requests_are_means_of_them(name):
    _, result = scanned("llama", name)
    for score in (score for score in result.scores if score.values):
        assert len(score.values) == len(result.edits)
        known = [value for value in score.values if not isnan(value)]
        assert score.count == len(known)
        mean = np.mean(known) if known else nan
        assert score.score == pytest.approx(mean, rel=1e-9, abs=1e-12, nan_ok=True)
        assert isnan(score.low) or score.low <= score.score <= score.high


@EVERY
def test_results_come_back_from_their_records(name):
    _, result = scanned("llama", name)
    assert dumps(loads(ScanResult, dumps(result))) == dumps(result)


@EVERY
def test_a_location_that_a_scan_cannot_see_is_nan(name):
    _, result = scanned("llama", name)
    for variant in result.variants or ("none",):
        assert isnan(result.at(variant, 99, "mlp"))


def test_an_unknown_scan_is_named():
    with pytest.raises(UsageError, match="unknown scan 'weight-gradint': did you mean weight-grad"):
        run_scan("weight-gradint", scan_context("llama"))


def test_a_formula_of_costs_is_computed_and_nothing_else_is():
    sizes = dict(zip(NAMES, (4.0, 8.0, 10.0, 5.0, 2.0, 2.0, 3.0), strict=True))
    assert passes("3 + 0.5 * tokens * samples * layers", sizes) == 43.0
    assert passes("(steps - 1) / 2", sizes) == 1.0
    for formula in ("__import__('os')", "width * 2", "layers ** 2", "'a'"):
        with pytest.raises(ValueError, match="cannot compute"):
            passes(formula, sizes)


def test_costly_scans_share_one_draw_of_edits_its_facts_and_the_bridged():
    context = scan_context("llama", options=ScanOptions(samples=2, requests=3))
    fewer = context.narrowed
    assert run_scan("ships", context).edits == fewer.edits
    assert len(fewer.edits) == 3
    assert set(fewer.edits) < set(context.edits)
    facts, hooked = vars(fewer)["facts"], vars(context)["hooked"]
    run_scan("mlp-ablation", context)
    assert context.narrowed is fewer
    assert fewer.facts is facts
    assert fewer.hooked is context.hooked is hooked
    assert scan_context("llama", options=ScanOptions(requests=0)).narrowed.whole is None


def test_the_table_is_plain_data():
    for entry in SCANS.values():
        assert loads(Descriptor, dumps(entry)) == entry
