"""Reports on scorecards, of one model and of several."""

import sys
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
import report_factory as factory
from scipy import stats

import locscope

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import locator_scorecard, scorecard_models  # noqa: E402
from analyses.locator_scorecard import Judged, judged, lines  # noqa: E402
from analyses.scorecard_models import (  # noqa: E402
    claims,
    mean_correlation,
    mean_over,
    p_above_zero,
    p_not_zero,
    pooled,
)
from locscope.api.run import Run  # noqa: E402
from locscope.errors import UsageError  # noqa: E402
from locscope.records import Scorecard  # noqa: E402
from locscope.records.outcome import CANNOT_TELL, DOES_NOT, PREDICTS  # noqa: E402


def card(good: float, bad: float) -> Scorecard:
    """Two scans with these correlations, a control and chance."""
    rows = (
        factory.verdict("causal-tracing", "effect", DOES_NOT, bad, added=bad / 4, regret_3=0.4),
        factory.verdict("weight-gradient", "l1", PREDICTS, good, regret_3=0.01),
        factory.verdict("depth-rule", "nearness", CANNOT_TELL, 0.1, regret_3=0.1),
        factory.verdict("random", "any order", DOES_NOT, 0.0, regret_3=0.2),
    )
    return replace(factory.scorecard(), verdicts=rows)


def run(model: str, good: float, bad: float = 0.0, seed: int = 0) -> Judged:
    return Judged(model, f"hash of {model}", "demo", seed, card(good, bad))


def test_a_report_says_who_predicts_who_does_not_and_how_popular_methods_do() -> None:
    text = locator_scorecard.written((run("demo", 0.6), run("demo", 0.4, seed=1)))
    assert "- **predicts here**: weight-gradient l1 (0.500)." in text
    assert "- **does not**: causal-tracing effect (0.000)." in text
    assert "causal-tracing, at its best (effect): does not 2 of 2; 0.000 within a part" in text
    assert "A random order loses 0.200; 1 of 2 variants lose less: weight-gradient l1." in text
    assert "## demo, demo, seed 1" in text
    assert "nan" not in text


def test_a_variant_is_its_mean_over_the_runs_that_measured_it() -> None:
    found = lines((run("demo", 0.6), run("demo", nan, seed=1), run("demo", 0.2, seed=2)))
    line = next(one for one in found if one.scan == "weight-gradient")
    assert line.mean("within") == pytest.approx(0.4)
    assert isnan(line.mean("full"))


def test_runs_are_read_from_their_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locscope, "open_run", lambda folder: Run(folder, factory.inputs()))
    (found,) = judged([Path("run")])
    assert found.label == "demo, demo, seed 0"
    assert repr(found.card) == repr(factory.scorecard())
    without = factory.inputs(scorecard=None)
    monkeypatch.setattr(locscope, "open_run", lambda folder: Run(folder, without))
    with pytest.raises(UsageError, match="has no scorecard"):
        judged([Path("run")])


def test_a_claim_over_models_needs_three_and_all_alike() -> None:
    values = [0.62, 0.58, 0.6, 0.61]
    runs = [
        run(f"m{i}", value, bad=(-0.02, 0.03, 0.01, -0.03)[i]) for i, value in enumerate(values)
    ]
    made = {claim.pooled.scan: claim for claim in claims(pooled(runs))}
    assert made["weight-gradient"].verdict == PREDICTS
    assert made["weight-gradient"].pooled.predicts == 4
    assert made["causal-tracing"].verdict == DOES_NOT
    assert "random" not in made
    assert "weight-gradient l1: predicts here over 4 models" in scorecard_models.written(runs)
    two = scorecard_models.written(runs[:2])
    assert "Only 2 models" in two
    assert {claim.verdict for claim in claims(pooled(runs[:2]))} == {CANNOT_TELL}
    wrong = [run(f"m{i}", value, bad=-value) for i, value in enumerate(values)]
    (opposed,) = (one for one in claims(pooled(wrong)) if one.pooled.scan == "causal-tracing")
    assert opposed.verdict == DOES_NOT
    assert opposed.opposed
    assert "does not (points the wrong way) over 4 models" in scorecard_models.written(wrong)
    scattered = [run(f"m{i}", value) for i, value in enumerate((0.9, -0.4, 0.6))]
    made = {claim.pooled.scan: claim for claim in claims(pooled(scattered))}
    assert made["weight-gradient"].verdict == CANNOT_TELL


def test_runs_of_one_model_count_once() -> None:
    runs = [run("a", 0.6, seed=seed) for seed in range(5)]
    found = {one.scan: one for one in pooled((*runs, run("b", 0.2)))}
    assert found["weight-gradient"].models == 2
    assert found["weight-gradient"].within.value == pytest.approx(0.4202, abs=1e-4)


def test_interval_and_p_over_models_are_those_of_the_t_test() -> None:
    values = [0.3, 0.5, 0.1, 0.45]
    _, p = stats.ttest_1samp(values, 0.0, alternative="greater")
    assert p_above_zero(values) == pytest.approx(p)
    bounds = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = mean_over(values)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert isnan(p_above_zero(values[:2]))
    assert isnan(mean_over(values[:2]).low)


def test_intervals_of_correlations_are_those_of_the_t_test_on_fishers_scale() -> None:
    values = [0.91, 0.85, 0.97]
    test = stats.ttest_1samp(np.arctanh(values), 0.0)
    bounds = test.confidence_interval(0.95)
    found = mean_correlation(values)
    assert (found.low, found.high) == pytest.approx((np.tanh(bounds.low), np.tanh(bounds.high)))
    assert p_not_zero(values) == pytest.approx(test.pvalue)
    assert p_not_zero([-x for x in values]) == pytest.approx(test.pvalue)
    assert mean_over(values).high > 1
    for some in (values, [1.0, 1.0, 0.9], [-1.0, -0.99, -0.8], [1.0, -1.0, 0.0]):
        found = mean_correlation(some)
        assert -1 <= found.low <= found.value <= found.high <= 1
    assert isnan(mean_correlation(values[:2]).low)
    assert isnan(p_not_zero(values[:2]))
    assert p_not_zero([0.0] * 3) == 1
