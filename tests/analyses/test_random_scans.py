"""Families of random scans, on made-up audits."""

import sys
from dataclasses import replace
from pathlib import Path

import audits
import numpy as np
import pytest
import report_factory as factory

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import random_scans  # noqa: E402
from analyses.random_scans import KINDS, Bed, Tally, bed_of, family, known, tally  # noqa: E402
from locscope.errors import UsageError  # noqa: E402
from locscope.records.outcome import AS_DEPTH, PREDICTS  # noqa: E402

LOCATIONS = tuple((layer, part) for layer in range(10) for part in audits.PARTS)
MLPS = tuple((layer, "mlp") for layer in range(10))


def bed(seed: int = 0) -> Bed:
    rng = np.random.default_rng(seed)
    audit = audits.world(rng, audits.smooth(rng, 10))
    return Bed(replace(audit, full=(), rule=""), (LOCATIONS, MLPS), "made up")


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_has_random_scores_where_the_search_had_any(kind: str) -> None:
    one, other = (family(bed(), KINDS[kind], np.random.default_rng(seed)) for seed in (0, 1))
    assert one.variants == ("0", "1")
    assert set(one.of_locations("0")) == set(LOCATIONS)
    assert set(one.of_locations("1")) == set(MLPS)
    assert all(np.isfinite(score.score) for score in one.scores)
    assert one.scores[0].score != other.scores[0].score


def test_smooth_kinds_are_smoother_than_independent_ones() -> None:
    def steps(kind: str) -> float:
        grids = [KINDS[kind](np.random.default_rng(i), 10, 5) for i in range(50)]
        return float(np.mean([(np.diff(x, axis=0) ** 2).mean() / x.var() for x in grids]))

    assert steps("independent") > 1.5
    for kind in list(KINDS)[2:6]:
        assert steps(kind) < 1


def test_families_are_judged_and_their_claims_told_apart() -> None:
    one = tally(bed(), "independent", KINDS["independent"], 3, 499)
    assert (one.scans, len(one.claimed)) == (6, 3)
    some = factory.verdict("drawn", "0", AS_DEPTH, 0.5)
    told = replace(one, claimed=((some,), (), (some, some)))
    assert (told.families(), told.families(AS_DEPTH), told.families(PREDICTS)) == (2, 2, 0)
    text = random_scans.page(bed(), [told], told, [known(bed(), 0.1, 1, 499)])
    assert "| independent | 6 | 3 | 66.7 % [9.4, 99.2] | 0 | 2 | 0 | 3 |" in text
    assert "| 0.1 | 0.9" in text


def test_the_bed_is_what_a_race_looked_at() -> None:
    inputs = factory.inputs()
    looks = tuple(
        replace(one, trial=replace(one.trial, rung="rung 1")) for one in inputs.trials[:3]
    )
    found = bed_of(replace(inputs, trials=(*looks, *inputs.trials[3:])))
    assert found.audit.quick_trials == looks
    assert len(found.shapes) == sum(len(scan.variants) for scan in inputs.scans)
    with pytest.raises(UsageError, match="by race"):
        bed_of(replace(inputs, trials=()))


def test_a_tally_of_nothing_claims_nothing() -> None:
    assert Tally("some", 3, ((), ())).families() == 0
