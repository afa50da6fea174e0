"""The recommendation's numbers against hand computation, and what it says."""

from math import isnan, nan

import pytest

from locscope.records import EditOutcome, Measure, Recipe, Trial, TrialRecord
from locscope.selection.choice import Best
from locscope.selection.recommend import Confirmed, Context, recommend

EDITS = tuple(f"e{i}" for i in range(12))


def context() -> Context:
    groups = tuple((EDITS[i], EDITS[i + 1]) for i in range(0, 12, 2))
    return Context("balanced", "demo", "h", "demo", "h", 0, "0", groups)


def made(location: str, shares: dict[str, float], ratio: float = 1.0) -> TrialRecord:
    trial = Trial(location, Recipe(1e-3, 8), EDITS, "R", "confirm-1", 0, "m", "e")
    outcomes = tuple(
        EditOutcome(edit, share, share, share, share)
        for edit, share in ((edit, shares.get(edit, 0.0)) for edit in EDITS)
    )
    mean = sum(outcome.reliability for outcome in outcomes) / len(outcomes)
    names = ("reliability", "generalization", "locality")
    measures = (
        *(Measure(name, mean, len(EDITS), "p", before=0.0) for name in names),
        Measure("perplexity_ratio", ratio, 4, "p"),
    )
    return TrialRecord(
        trial, "done", mean, "harmonic", measures, outcomes, (), (), 5, 0, 0, 0.0, 0.0
    )


def confirmed(role: str, record: TrialRecord) -> Confirmed:
    return Confirmed(role, Best(record.trial.location, record, (record,)), (record, record))


def test_score_is_the_harmonic_mean_on_r_and_margins_are_paired() -> None:
    good = made("L1.mlp", dict.fromkeys(EDITS, 1.0))
    fair = made("L2.mlp", dict.fromkeys(EDITS[:6], 1.0))
    found = recommend(context(), [confirmed("recommended", good), confirmed("runner-up", fair)])
    assert found.best.score == 1.0
    assert found.contenders[1].score == pytest.approx(0.5)
    assert found.margins[0].value == pytest.approx(0.5)
    assert found.margins[0].low > 0
    assert not found.tie
    assert found.met
    assert "L1.mlp" in found.sentence
    assert "ahead of L2.mlp" in found.sentence


def test_a_tie_is_called_a_tie() -> None:
    one = made("L1.mlp", dict.fromkeys(EDITS[:6], 1.0))
    other = made("L2.mlp", dict.fromkeys(EDITS[6:], 1.0))
    found = recommend(context(), [confirmed("recommended", one), confirmed("runner-up", other)])
    assert found.tie
    assert "a tie with L2.mlp" in found.sentence


def test_broken_bounds_and_nothing_learned_are_missed() -> None:
    collapsed = made("L1.mlp", dict.fromkeys(EDITS, 1.0), ratio=2.0)
    found = recommend(context(), [confirmed("recommended", collapsed)])
    assert not found.met
    assert "perplexity_ratio" in found.missed[0]
    nothing = recommend(context(), [confirmed("recommended", made("L1.mlp", {}))])
    assert not nothing.met
    assert "reliability" in nothing.missed[0]


def test_nothing_measured_is_said() -> None:
    blank = made("L1.mlp", dict.fromkeys(EDITS, nan))
    found = recommend(context(), [confirmed("recommended", blank)])
    assert isnan(found.best.score)
    assert "nothing could be measured" in found.missed
