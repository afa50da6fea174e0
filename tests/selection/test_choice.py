"""Ranking, fronts and finalists, by hand-made records and against a slow sort."""

from dataclasses import replace
from functools import cmp_to_key
from math import isnan, nan

from hand_made import BALANCED, OBJECTIVES, locations, record, shares, tuned
from hypothesis import given
from hypothesis import strategies as st

from locscope.records import TrialRecord
from locscope.scoring.objectives import Objective, objective_of
from locscope.scoring.tradeoffs import front
from locscope.selection.choice import best_per_location, ranked

CAPABLE, PARETO = OBJECTIVES["capability-first"], OBJECTIVES["pareto"]


def test_kept_bounds_go_before_score_and_small_before_large() -> None:
    ordered = [
        record("L0.mlp", 1, 0.9),
        record("L1.mlp", 1, 0.5, count=5),
        record("L2.mlp", 1, 0.5),
        record("L3.mlp", 1, 0.99, violated=("perplexity",)),
        record("L4.mlp", 1, nan),
    ]
    shuffled = [ordered[i] for i in (3, 0, 4, 2, 1)]
    assert list(ranked(shuffled, BALANCED)) == ordered


def test_beyond_the_bounds_the_nearest_leads_whatever_it_scores() -> None:
    far = tuned("L0.mlp", BALANCED, **shares(1.0, 1.0, 1.0, 1.5))
    near = tuned("L1.mlp", BALANCED, **shares(0.5, 0.5, 0.5, 1.06))
    both = tuned("L2.mlp", BALANCED, **shares(0.9, 0.9, 0.9, 1.06, retention=0.5))
    lost = tuned("L3.mlp", BALANCED, **shares(1.0, 1.0, 1.0, float("inf")))
    assert locations(ranked([lost, far, both, near], BALANCED)) == locations(
        [near, far, both, lost]
    )


def test_beyond_the_bound_margin_what_keeps_the_bounds_asked_for_leads() -> None:
    """By what is left free alone, 0.945 of retention would be nearer than a ratio of 1.045."""
    objective = replace(BALANCED, bound_margin=0.4).strict
    kept = tuned("L0.mlp", objective, **shares(0.9, 0.9, 0.9, 1.045, retention=1.0))
    broken = tuned("L1.mlp", objective, **shares(0.3, 0.3, 0.3, 1.0, retention=0.945))
    roomy = tuned("L2.mlp", objective, **shares(0.1, 0.1, 0.1, 1.0, retention=1.0))
    assert missed(broken, objective) < missed(kept, objective)
    assert locations(ranked([broken, kept, roomy], objective)) == locations([roomy, kept, broken])


def test_capability_first_wants_reliable_edits_then_what_is_kept_then_generalization() -> None:
    def made(location, *values, **more):
        return tuned(location, CAPABLE, **shares(*values), **more)

    unreliable = made("L0.mlp", 0.94, 1.0, 1.0, 1.0)
    hopeless = made("L1.mlp", 0.2, 1.0, 1.0, 1.0)
    costly = made("L2.mlp", 1.0, 1.0, 1.0, 1.04)
    close = made("L3.mlp", 0.96, 0.5, 0.2, 1.001)
    general = made("L4.mlp", 0.96, 0.9, 0.2, 1.004, count=99)
    small = made("L5.mlp", 0.96, 0.9, 0.2, 1.004, count=9)
    ordered = [small, general, close, costly, unreliable, hopeless]
    assert locations(ranked(ordered[::-1], CAPABLE)) == locations(ordered)


def test_capability_first_goes_by_retention_where_there_are_abilities() -> None:
    kept = tuned("L0.mlp", CAPABLE, **shares(1.0, 0.1, 1.0, 1.5, retention=0.9))
    lost = tuned("L1.mlp", CAPABLE, **shares(1.0, 1.0, 1.0, 1.0, retention=0.6))
    assert locations(ranked([lost, kept], CAPABLE)) == ["L0.mlp", "L1.mlp"]


def test_the_knee_leads_then_by_height_above_the_chord() -> None:
    def made(location, share, ratio, **more):
        return tuned(location, PARETO, **shares(share, share, share, ratio), **more)

    knee = made("L0.mlp", 0.9, 1.01)
    beaten = [made("L3.mlp", 0.85, 1.02), made("L4.mlp", 0.8, 1.05)]
    ends = [made("L1.mlp", 0.95, 1.5), made("L2.mlp", 0.2, 1.0)]
    nothing = made("L5.mlp", 0.0, 1.0)
    blank = record("L6.mlp", 1.0, nan)
    ordered = [knee, *beaten, *ends, nothing, blank]
    assert locations(ranked(ordered[::-1], PARETO)) == locations(ordered)
    assert locations(front(ordered, PARETO)) == ["L2.mlp", "L0.mlp", "L1.mlp"]
    assert str(best_per_location(ordered[::-1], PARETO)[0].location) == "L0.mlp"


def test_a_location_off_the_knee_is_at_the_rate_that_comes_nearest() -> None:
    def made(location, lr, share, ratio):
        return tuned(location, PARETO, lr=lr, **shares(share, share, share, ratio))

    knee = made("L0.mlp", 1.0, 0.97, 1.005)
    timid, good = made("L1.mlp", 0.3, 0.06, 1.0005), made("L1.mlp", 3.0, 0.96, 1.013)
    first, second = best_per_location([timid, good, knee], PARETO)
    assert (first.record, second.record) == (knee, good)


def test_the_front_is_of_those_within_the_bounds() -> None:
    objective = objective_of("pareto", bounds=["perplexity_ratio<=1.1"])
    kept = tuned("L0.mlp", objective, **shares(0.5, 0.5, 0.5, 1.0))
    broken = tuned("L1.mlp", objective, **shares(1.0, 1.0, 1.0, 1.2))
    worse = tuned("L2.mlp", objective, **shares(1.0, 1.0, 1.0, 1.3))
    assert locations(front([broken, kept], objective)) == ["L0.mlp"]
    assert locations(front([worse, broken], objective)) == ["L1.mlp"]
    assert locations(ranked([worse, broken], objective)) == ["L1.mlp", "L2.mlp"]
    assert front([record("L3.mlp", 1.0, nan)], objective) == ()
    assert ranked([], objective) == ()


FEW = st.sampled_from([0.0, 0.2, 0.949, 0.95, 0.951, 1.0, nan])
RATIOS = st.sampled_from([0.99, 1.0, 1.001, 1.004, 1.05, 1.06, 2.0, float("inf")])
VALUES = st.lists(st.tuples(FEW, FEW, FEW, RATIOS, st.sampled_from([5, 9])), max_size=8)


def slower(one: TrialRecord, other: TrialRecord, objective: Objective) -> int:
    """Which goes first, told step by step; 0 only for the same location and rate."""

    def deserved(one: TrialRecord) -> float:
        """The harmonic mean, in which a share of none of n items is that of half an item."""
        names = list(objective.weights)
        shares = [one.measure(name) for name in names if not isnan(one.measure(name).value)]
        if not shares:
            return one.score
        # Equal but for the last bits is equal.
        return round(len(shares) / sum(1 / (m.value or 0.5 / m.count) for m in shares), 12)

    for said in (
        lambda r: isnan(r.score),
        lambda r: len(r.violated) > 0,
        lambda r: missed(r, objective),
        lambda r: (
            0.0 if isnan(r.score) else -(round(deserved(r), 2) if objective.tie else deserved(r))
        ),
        lambda r: -known(r.measure("generalization").value) if objective.tie else 0.0,
        lambda r: r.parameter_count,
        lambda r: 0.0 if isnan(r.score) else -deserved(r),
        lambda r: r.trial.location,
    ):
        if said(one) != said(other):
            return -1 if said(one) < said(other) else 1
    return 0


def known(value: float) -> float:
    return 0.0 if isnan(value) else value


def missed(one: TrialRecord, objective: Objective) -> float:
    total = 0.0
    for bound in objective.bounds:
        value = one.measure(bound.measure).value
        if not isnan(value) and bound.side == "at most" and value > bound.limit:
            total += (value - bound.limit) / bound.limit
        if not isnan(value) and bound.side == "at least" and value < bound.limit:
            total += (bound.limit - value) / bound.limit
    return total


@given(VALUES, st.sampled_from(["balanced", "capability-first"]), st.randoms())
def test_ranking_equals_a_slow_sort(values, name, random):
    objective = OBJECTIVES[name]
    records = [
        tuned(f"L{i}.mlp", objective, count=count, **shares(*four))
        for i, (*four, count) in enumerate(values)
    ]
    expected = sorted(records, key=cmp_to_key(lambda a, b: slower(a, b, objective)))
    random.shuffle(records)
    assert locations(ranked(records, objective)) == locations(expected)


def test_what_learned_none_of_one_share_is_ranked_by_the_others() -> None:
    """Exactly 0 of one share makes every score 0, and says nothing of the others."""
    better = tuned("L0.mlp", BALANCED, **shares(0.9, 0.0, 0.9, 1.0))
    worse = tuned("L1.mlp", BALANCED, count=1, **shares(0.1, 0.0, 0.3, 1.0))
    some = tuned("L2.mlp", BALANCED, **shares(0.1, 0.1, 0.1, 1.0))
    assert better.score == worse.score == 0
    assert locations(ranked([worse, better, some], BALANCED)) == ["L2.mlp", "L0.mlp", "L1.mlp"]


PROBABILITIES = st.lists(st.tuples(*[st.floats(0.01, 1)] * 3, RATIOS), max_size=8)


@given(PROBABILITIES, st.sampled_from(sorted(OBJECTIVES)), st.randoms())
def test_quick_trials_are_ranked_whatever_their_order(values, name, random):
    objective = OBJECTIVES[name]
    names = ("target_probability", "rephrase_probability", "neighbour_kept", "perplexity_ratio")
    records = [
        tuned(f"L{i}.mlp", objective, quick=True, **dict(zip(names, four, strict=True)))
        for i, four in enumerate(values)
    ]
    found = ranked(records, objective)
    assert sorted(locations(found)) == sorted(locations(records))
    random.shuffle(records)
    assert ranked(records, objective) == found
    if not objective.knee:
        sound = [one.score for one in found if not one.violated]
        assert sound == sorted(sound, reverse=True)
    elif found and found[0].score > 0:
        assert found[0] in front(records, objective)


def test_a_location_is_compared_at_its_own_best_rate() -> None:
    records = [record("L0.attn", 1, 0.2), record("L0.attn", 3, 0.8), record("L1.attn", 1, 0.5)]
    first, second = best_per_location(records, BALANCED)
    assert (str(first.location), first.record.trial.recipe.lr) == ("L0.attn", 3)
    assert str(second.location) == "L1.attn"
    assert len(first.tried) == 2
