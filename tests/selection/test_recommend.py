"""The recommendation's numbers against hand computation, and what it says."""

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from locscope.records import (
    EditOutcome,
    Measure,
    Recipe,
    Recommendation,
    Trial,
    TrialRecord,
    dumps,
    loads,
)
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import BALANCED, OBJECTIVES, Objective, objective_of, score
from locscope.selection.choice import Best
from locscope.selection.recommend import Confirmed, Context, recommend, settled

EDITS = tuple(f"e{i}" for i in range(12))
CAPABLE, PARETO = OBJECTIVES["capability-first"], OBJECTIVES["pareto"]


def context(aim: Objective = BALANCED) -> Context:
    groups = tuple((EDITS[i], EDITS[i + 1]) for i in range(0, 12, 2))
    return Context(aim, "demo", "h", "demo", "h", 0, "0", groups)


def made(
    location: str,
    shares: dict[str, float],
    ratio: float = 1.0,
    *,
    count: int = 5,
    generalization: float = nan,
    edits: tuple[str, ...] = EDITS,
    aim: Objective = BALANCED,
) -> TrialRecord:
    """A trial in which an edit has its share in all three, unless generalization is given."""
    trial = Trial(location, Recipe(1e-3, 8), edits, "R", "confirm-1", 0, "m", "e")
    general = {e: shares.get(e, 0.0) if isnan(generalization) else generalization for e in edits}
    outcomes = tuple(
        EditOutcome(edit, share, share, general[edit], share)
        for edit, share in ((edit, shares.get(edit, 0.0)) for edit in edits)
    )
    names = ("reliability", "generalization", "locality")
    means = {name: float(np.mean([getattr(o, name) for o in outcomes])) for name in names}
    measures = (
        *(Measure(name, mean, len(edits), "p", before=0.0) for name, mean in means.items()),
        Measure("perplexity_ratio", ratio, 4, "p"),
    )
    worth, broken = score(measures, aim), violations(measures, aim.bounds)
    return TrialRecord(
        trial, "done", worth.value, worth.name, measures, outcomes, (), (), count, 0, 0, 0.0, 0.0,
        broken,
    )  # fmt: skip


def confirmed(role: str, *records: TrialRecord) -> Confirmed:
    twice = records if len(records) > 1 else records * 2
    return Confirmed(role, Best(records[0].trial.location, records[0], records[:1]), twice)


def pair(one: TrialRecord, other: TrialRecord) -> list[Confirmed]:
    return [confirmed("recommended", one), confirmed("runner-up", other)]


ALL = dict.fromkeys(EDITS, 1.0)
HALF, OTHER_HALF = dict.fromkeys(EDITS[:6], 1.0), dict.fromkeys(EDITS[6:], 1.0)


def test_score_is_the_harmonic_mean_on_r_and_margins_are_paired() -> None:
    found = recommend(context(), pair(made("L1.mlp", ALL), made("L2.mlp", HALF)))
    assert found.best.score == 1.0
    assert found.contenders[1].score == pytest.approx(0.5)
    assert found.margins[0].value == pytest.approx(0.5)
    assert found.margins[0].low > 0
    assert "bootstrap over groups" in found.margins[0].protocol
    assert not found.tie
    assert found.met
    assert "L1.mlp" in found.sentence
    assert "ahead of L2.mlp" in found.sentence


def test_a_tie_is_called_a_tie() -> None:
    found = recommend(context(), pair(made("L1.mlp", HALF), made("L2.mlp", OTHER_HALF)))
    assert found.tie
    assert found.best.location == "L1.mlp"
    assert "a tie with L2.mlp" in found.sentence


def test_the_smaller_of_a_tie_is_recommended_and_the_sentence_says_so() -> None:
    large, small = made("L1.mlp", HALF, count=9), made("L2.mlp", OTHER_HALF, count=8)
    found = recommend(context(), pair(large, small))
    assert [one.location for one in found.contenders] == ["L2.mlp", "L1.mlp"]
    assert [one.role for one in found.contenders] == ["recommended", "runner-up"]
    assert found.margins[0].location == "L1.mlp"
    assert "a tie with L1.mlp" in found.sentence
    assert "and smaller (8 weights)" in found.sentence
    again = recommend(context(), pair(small, large))
    assert again.best.location == "L2.mlp"


def test_the_smaller_does_not_win_by_more_than_a_tie() -> None:
    cases = [
        (made("L1.mlp", ALL, count=9), made("L2.mlp", HALF, count=8)),
        (made("L1.mlp", HALF, count=9), made("L2.mlp", OTHER_HALF, count=9)),
        (made("L1.mlp", HALF, count=9), made("L2.mlp", OTHER_HALF, 1.2, count=8)),
        (made("L1.mlp", dict.fromkeys(EDITS, nan), count=9), made("L2.mlp", HALF, count=8)),
    ]
    for one, other in cases:
        assert settled(context(), pair(one, other)) == tuple(pair(one, other))


def test_what_missed_the_bounds_on_s_by_more_does_not_win_a_tie() -> None:
    one, other = pair(made("L1.mlp", HALF, count=9), made("L2.mlp", OTHER_HALF, count=8))
    broken = replace(other, best=replace(other.best, record=made("L2.mlp", HALF, 1.3, count=8)))
    assert settled(context(), [one, broken])[0] == one
    rule = confirmed("depth-rule", made("L0.mlp", HALF, count=1))
    swapped = settled(context(), [one, other, rule])
    assert [found.best.location for found in swapped] == ["L2.mlp", "L1.mlp", "L0.mlp"]


def test_what_left_less_room_on_s_does_not_win_a_tie() -> None:
    one, other = pair(made("L1.mlp", HALF, count=9), made("L2.mlp", OTHER_HALF, count=8))
    near = replace(other, best=replace(other.best, record=made("L2.mlp", HALF, 1.045, count=8)))
    assert settled(context(), [one, near])[0].best.location == "L2.mlp"
    roomy = context(replace(BALANCED, room=0.4))
    assert settled(roomy, [one, near])[0] == one


def test_the_score_is_named_for_what_the_repetitions_hold_together() -> None:
    whole = made("L1.mlp", HALF)
    measures = tuple(
        replace(m, value=nan, count=0) if m.name == "generalization" else m for m in whole.measures
    )
    blind = replace(whole, measures=measures, score_name="harmonic(reliability, locality)")
    found = recommend(context(), [confirmed("recommended", blind, whole)])
    assert found.score_name == "harmonic(reliability, generalization, locality)"


def test_a_runner_up_beyond_the_bounds_is_said_to_be() -> None:
    found = recommend(context(), pair(made("L1.mlp", HALF), made("L2.mlp", OTHER_HALF, 1.2)))
    assert "which misses a bound (perplexity_ratio 1.2 is above 1.05)" in found.sentence
    assert found.met


def test_broken_bounds_and_nothing_learned_are_missed() -> None:
    collapsed = made("L1.mlp", ALL, ratio=2.0)
    found = recommend(context(), [confirmed("recommended", collapsed)])
    assert not found.met
    assert "perplexity_ratio" in found.missed[0]
    assert found.sentence.startswith("Nothing tried met the bounds; nearest to them: tune L1.mlp")
    assert found.sentence.endswith("It misses: perplexity_ratio 2 is above 1.05.")
    nothing = recommend(context(), [confirmed("recommended", made("L1.mlp", {}))])
    assert not nothing.met
    assert "reliability" in nothing.missed[0]


def test_bounds_that_nothing_kept_on_s_are_missed_also_where_r_keeps_them() -> None:
    lucky = confirmed("recommended", made("L1.mlp", ALL))
    lucky = replace(lucky, best=replace(lucky.best, record=made("L1.mlp", ALL, 1.06)))
    found = recommend(context(), [lucky])
    assert not found.met
    assert found.missed == ("perplexity_ratio 1.06 is above 1.05 on S",)
    assert found.sentence.startswith("Nothing tried met the bounds; nearest to them: tune L1.mlp")
    assert found.sentence.endswith("It misses: perplexity_ratio 1.06 is above 1.05 on S.")


def test_what_left_too_little_room_on_s_and_kept_the_bounds_is_not_missed() -> None:
    near = confirmed("recommended", made("L1.mlp", ALL, 1.01))
    short = replace(made("L1.mlp", ALL, 1.045), violated=("perplexity_ratio 1.045 is above 1.03",))
    found = recommend(
        context(replace(BALANCED, room=0.4)), [replace(near, best=replace(near.best, record=short))]
    )
    assert found.met
    assert found.room == 0.4
    assert found.sentence.startswith("Tune L1.mlp")


def test_nothing_measured_is_said() -> None:
    blank = made("L1.mlp", dict.fromkeys(EDITS, nan))
    found = recommend(context(), [confirmed("recommended", blank)])
    assert isnan(found.best.score)
    assert "nothing could be measured" in found.missed


def test_own_weights_are_in_score_and_margin_and_recorded() -> None:
    aim = objective_of("balanced", {"generalization": 2}, ["locality>=0.1"])
    one = made("L1.mlp", ALL, generalization=0.5, aim=aim)
    other = made("L2.mlp", ALL, generalization=0.25, aim=aim)
    found = recommend(context(aim), pair(one, other))
    assert found.best.score == pytest.approx(4 / 6)
    assert found.margins[0].value == pytest.approx(4 / 6 - 4 / 10)
    assert found.weights == {"reliability": 1.0, "generalization": 2.0, "locality": 1.0}
    assert "locality>=0.1" in found.bounds
    assert "x 2" in found.score_name
    assert objective_of(found.objective, found.weights, found.bounds).terms == aim.terms


RATIOS = ((1.01, 1.02, 1.01, 1.03, 1.02), (1.05, 1.07, 1.04, 1.08, 1.06))


@pytest.mark.parametrize("aim", [CAPABLE, PARETO])
def test_what_holds_more_than_edits_is_paired_by_repetition(aim: Objective) -> None:
    subsets = [EDITS[i : i + 6] for i in (0, 3, 6, 0, 6)]
    one, other = (
        [
            made(name, ALL, ratio, edits=some, aim=aim)
            for ratio, some in zip(row, subsets, strict=True)
        ]
        for name, row in zip(("L1.mlp", "L2.mlp"), RATIOS, strict=True)
    )
    found = recommend(
        context(aim), [confirmed("recommended", *one), confirmed("runner-up", *other)]
    )
    gaps = [a.score - b.score for a, b in zip(one, other, strict=True)]
    pairs = [(a, b) for i, a in enumerate(subsets) for b in subsets[:i]]
    share = float(np.mean([len({*a} & {*b}) / 6 for a, b in pairs]))
    error = np.std(gaps, ddof=1) * np.sqrt(1 / 5 + share / (1 - share))
    half = stats.t.ppf(0.975, 4) * error
    margin = found.margins[0]
    assert margin.value == pytest.approx(np.mean(gaps))
    assert (margin.low, margin.high) == pytest.approx((np.mean(gaps) - half, np.mean(gaps) + half))
    assert margin.protocol.startswith("paired by repetition, Student's t, widened for the 40%")
    assert found.best.score == pytest.approx(np.mean([r.score for r in one]))
    assert found.best.low < found.best.score < found.best.high <= 1


def test_a_tie_in_what_is_kept_is_broken_by_generalization_before_size() -> None:
    ratios = (1.01, 1.02)

    def tuned(location: str, count: int, general: float) -> list[TrialRecord]:
        return [
            made(location, ALL, r, count=count, generalization=general, edits=some, aim=CAPABLE)
            for r, some in zip(ratios, (EDITS[:6], EDITS[6:]), strict=True)
        ]

    def first(general: float) -> str:
        large = confirmed("recommended", *tuned("L1.mlp", 9, 0.9))
        small = confirmed("runner-up", *tuned("L2.mlp", 8, general))
        return settled(context(CAPABLE), [large, small])[0].best.location

    assert first(0.9) == "L2.mlp"
    assert first(0.2) == "L1.mlp"


def test_what_breaks_ties_and_was_not_measured_does_not_stand_against_the_smaller() -> None:
    def blind(location: str, count: int) -> list[TrialRecord]:
        found = [
            made(location, ALL, ratio, count=count, edits=some, aim=CAPABLE)
            for ratio, some in ((1.01, EDITS[:6]), (1.02, EDITS[6:]))
        ]
        return [
            replace(one, outcomes=tuple(replace(o, generalization=nan) for o in one.outcomes))
            for one in found
        ]

    large = confirmed("recommended", *blind("L1.mlp", 9))
    small = confirmed("runner-up", *blind("L2.mlp", 8))
    assert settled(context(CAPABLE), [large, small])[0].best.location == "L2.mlp"


def test_unreliable_edits_miss_what_capability_first_needs() -> None:
    shaky = made("L1.mlp", HALF, aim=CAPABLE)
    found = recommend(context(CAPABLE), [confirmed("recommended", shaky)])
    assert found.missed == ("reliability 0.5 is below 0.95",)
    assert found.bounds == ("reliability>=0.95",)


def test_the_front_is_kept_with_its_knee() -> None:
    tried = [
        made("L1.mlp", dict.fromkeys(EDITS, 0.2), 1.001),
        made("L2.mlp", dict.fromkeys(EDITS, 0.9), 1.01),
        made("L3.mlp", dict.fromkeys(EDITS, 0.8), 1.02),
        made("L4.mlp", ALL, 1.05),
        made("L5.mlp", ALL, 1.5),
    ]
    found = recommend(context(), [confirmed("recommended", tried[1])], tried)
    assert [(p.location, p.perplexity_ratio) for p in found.front] == [
        ("L1.mlp", 1.001), ("L2.mlp", 1.01), ("L4.mlp", 1.05),
    ]  # fmt: skip
    assert [point.knee for point in found.front] == [False, True, False]
    assert found.front[1].efficacy == pytest.approx(0.9)
    assert loads(Recommendation, dumps(found)).front == found.front
