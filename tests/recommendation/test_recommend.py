"""The recommendation's numbers against hand computation, and what it says."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from hand_made import BALANCED, OBJECTIVES
from scipy import stats

from locscope.locations import Location
from locscope.recommendation.finalists import RANDOM, Finalist
from locscope.recommendation.looser_bounds import Relaxed
from locscope.recommendation.margins import Context, pooled
from locscope.recommendation.recommend import deployment_of, recommend
from locscope.records import (
    BoundPoint,
    Deployment,
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
from locscope.scoring.objectives import Objective, objective_of, score, score_name
from locscope.selection.choice import Best

EDITS = tuple(f"e{i}" for i in range(12))
"""Those of T."""
EVERY = tuple(f"e{i}" for i in range(30))
CAPABLE, PARETO = OBJECTIVES["capability-first"], OBJECTIVES["pareto"]


def in_pairs(edits: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((edits[i], edits[i + 1]) for i in range(0, len(edits), 2))


def context(objective: Objective = BALANCED) -> Context:
    return Context(
        objective, "demo", "h", "demo", "h", 0, "0", in_pairs(EDITS), in_pairs(EVERY), 0.01
    )


def made(
    location: str,
    shares: dict[str, float],
    ratio: float = 1.0,
    *,
    count: int = 5,
    generalization: float = nan,
    edits: tuple[str, ...] = EDITS,
    objective: Objective = BALANCED,
    recipe: Recipe = Recipe(1e-3, 8),  # noqa: B008
) -> TrialRecord:
    """A trial in which an edit has its share in all three, unless generalization is given."""
    trial = Trial(Location.parse(location), recipe, edits, "T", "report-1", 0, "m", "e")
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
    utility, name = score(measures, objective), score_name(measures, objective)
    broken = violations(measures, objective.bounds)
    return TrialRecord(
        trial, "done", utility, name, measures, outcomes, (), (), count, 0, 0, 0.0,
        0.0, broken,
    )  # fmt: skip


def on_t(role: str, *records: TrialRecord, on_v: tuple[TrialRecord, ...] = ()) -> Finalist:
    twice = records if len(records) > 1 else records * 2
    return Finalist(Best(records[0].trial.location, records[0], records[:1]), on_v, role, twice)


def pair(one: TrialRecord, other: TrialRecord) -> list[Finalist]:
    return [on_t("recommended", one), on_t("runner-up", other)]


ALL, MANY = dict.fromkeys(EVERY, 1.0), dict.fromkeys(EVERY, 0.8)
HALF, OTHER_HALF = dict.fromkeys(EDITS[:6], 1.0), dict.fromkeys(EDITS[6:], 1.0)


def deployed(
    shares: dict[str, float] = ALL,
    ratio: float = 1.0,
    *,
    given: int = 30,
    fitted: Sequence[TrialRecord] = (),
    **more,
) -> Deployment:
    """The trial on all edits; it and one that broke a bound were tried to fit the recipe."""
    record = made("L1.mlp", shares, ratio, edits=EVERY, **more)
    broken = made("L1.mlp", ALL, 1.2, edits=EVERY, recipe=Recipe(3e-3, 8))
    about = context(more.get("objective", BALANCED))
    return deployment_of(about, record, fitted or (broken, record), given)


def recommended(
    held_out: Sequence[Finalist],
    made_of: Deployment | None = None,
    *,
    objective: Objective = BALANCED,
    randoms: Sequence[Finalist] = (),
    tried: Sequence[TrialRecord] = (),
    looser: Relaxed | None = None,
    points: tuple[BoundPoint, ...] = (),
) -> Recommendation:
    at = made_of or deployed(objective=objective)
    every, reason = [*held_out, *randoms], "best of the finalists"
    about = context(objective)
    return recommend(about, every, at, tried, looser, reason=reason, points=points)


def test_score_is_the_harmonic_mean_on_t_and_margins_are_paired() -> None:
    found = recommended(pair(made("L1.mlp", ALL), made("L2.mlp", HALF)))
    assert found.best.score == 1.0
    assert found.contenders[1].score == pytest.approx(0.5)
    assert found.margins[0].value == pytest.approx(0.5)
    assert found.margins[0].low > 0
    assert "bootstrap over groups" in found.margins[0].protocol
    assert not found.tie
    assert found.met
    assert found.reason == "best of the finalists"
    assert found.non_inferiority == 0.01
    assert "ahead of the runner-up L2.mlp (+0.500, 95 % " in found.sentence


def test_a_tie_is_called_a_tie() -> None:
    found = recommended(pair(made("L1.mlp", HALF), made("L2.mlp", OTHER_HALF)))
    assert found.tie
    assert "a tie with the runner-up L2.mlp" in found.sentence


@pytest.mark.parametrize("ahead", [ALL, OTHER_HALF])
def test_nothing_that_t_shows_moves_what_was_chosen(ahead: dict[str, float]) -> None:
    """Neither a tie with a smaller location, nor one that is ahead; that is said, however."""
    chosen, other = made("L1.mlp", HALF, count=9), made("L2.mlp", ahead, count=1)
    found = recommended([*pair(chosen, other), on_t("depth-rule", made("L0.mlp", ALL, count=1))])
    assert [str(one.location) for one in found.contenders] == ["L1.mlp", "L2.mlp", "L0.mlp"]
    assert [one.over for one in found.margins] == ["runner-up", "depth-rule"]
    said = [note for note in found.notes if note.startswith("L2.mlp is ahead on T by 0.5")]
    assert len(said) == (ahead is ALL)
    assert ("behind the runner-up L2.mlp" in found.sentence) == (ahead is ALL)


def test_contenders_have_their_scores_on_s_v_and_t() -> None:
    on_v = (made("L1.mlp", ALL, edits=EDITS[:2]), made("L1.mlp", {}, edits=EDITS[2:8]))
    first = replace(on_t("recommended", made("L1.mlp", HALF), on_v=on_v))
    found = recommended([first, on_t("depth-rule", made("L0.mlp", HALF))])
    best, rule = found.contenders
    assert (best.score_s, best.score) == (0.5, pytest.approx(0.5))
    # Two of eight edits of V: trials weigh as many edits as they judged.
    assert best.score_v == pytest.approx(0.25)
    assert isnan(rule.score_v)
    assert best.edits == rule.edits == 12
    assert best.repetitions == (0.5, 0.5)


def test_what_is_said_first_is_about_the_edits_to_be_made() -> None:
    made_of = deployed(MANY, 1.02, recipe=Recipe(5e-4, 15))
    found = recommended([on_t("recommended", made("L1.mlp", ALL))], made_of)
    assert found.sentence.startswith(
        "Tune L1.mlp at learning rate 0.0005 (batch 15, at most 25 epochs): on all 30 edits "
        "reliability 80.0%, generalization 80.0%, locality 80.0%, perplexity x 1.020. "
        "Held out: score 1.000 (95 % 1.000 to 1.000) on 12 edits at a time"
    )
    at = found.deployment
    assert at is not None
    assert (at.edits, at.given, at.score) == (30, 30, pytest.approx(0.8))
    assert at.low <= at.score <= at.high
    record = made("L1.mlp", MANY, 1.02, edits=EVERY, recipe=Recipe(5e-4, 15))
    assert at.measures == record.measures
    assert at.trial == record.trial.id
    assert found.recipe == at.recipe == Recipe(5e-4, 15)
    assert found.best.recipe == Recipe(1e-3, 8)
    assert [(one.lr, one.violated != ()) for one in at.fits] == [(3e-3, True), (5e-4, False)]
    assert [one.perplexity_ratio for one in at.fits] == [1.2, 1.02]


def test_numbers_that_seem_to_contradict_are_explained() -> None:
    """Another score at another count and recipe; fewer edits than there are."""
    made_of = deployed(MANY, recipe=Recipe(5e-4, 15), given=400)
    found = recommended([on_t("recommended", made("L1.mlp", ALL))], made_of)
    fewer, differ = found.notes
    assert "30 of 400 edits" in fewer
    assert "--deploy 400" in fewer
    assert differ.startswith("score 0.800 on 30 edits and 1.000 held out, on 12 at a time")
    assert differ.endswith("learning rate 0.0005 and 0.001, batch 15 and 8)")
    assert "on 30 of 400 edits" in found.sentence
    alike = recommended([on_t("recommended", made("L1.mlp", MANY))], deployed(MANY))
    assert alike.notes == ()


def test_met_is_about_the_edits_to_be_made_and_a_difference_is_explained() -> None:
    """Held out, the bound is missed by the recipe of the smaller count, or only there kept."""
    beyond, within = made("L1.mlp", ALL, 1.06), made("L1.mlp", ALL, 1.04)
    kept = recommended([on_t("recommended", beyond)], deployed(ALL, 1.04))
    assert kept.met
    assert kept.missed == ()
    (note,) = kept.notes
    assert note.startswith("held out, 12 edits at a time, it misses perplexity_ratio 1.06 is above")
    assert "It misses" not in kept.sentence
    broken = recommended([on_t("recommended", within)], deployed(ALL, 1.06))
    assert not broken.met
    assert broken.missed == ("perplexity_ratio 1.06 is above 1.05",)
    assert broken.sentence.endswith(". It misses: perplexity_ratio 1.06 is above 1.05.")
    assert "it keeps all bounds" in broken.notes[0]


@pytest.mark.parametrize(("ratio", "met"), [(1.06, False), (1.04, True)])
def test_a_looser_bound_is_said_where_the_one_asked_for_is_missed(ratio: float, met: bool) -> None:
    """Choosing and reporting read other texts, so that it may be kept after all."""
    held_out = [on_t("recommended", made("L1.mlp", ALL))]
    looser = Relaxed(BALANCED, "perplexity_ratio<=1.08", ())
    found = recommended(held_out, deployed(ALL, ratio), looser=looser)
    assert found.met is met
    assert found.relaxed == looser.bound
    assert found.sentence.startswith("Nothing useful keeps") is not met
    assert any("is kept all the same" in note for note in found.notes) is met


def test_what_the_bound_costs_is_said() -> None:
    held_out = [on_t("recommended", made("L1.mlp", HALF))]
    points = (
        BoundPoint(1.02, None, nan, nan, nan, nan, 12),
        BoundPoint(1.05, Location.parse("L1.mlp"), 1e-3, 0.5, 0.5, 1.04, 12),
        BoundPoint(1.12, Location.parse("L2.mlp"), 2e-3, 0.8, 0.95, 1.1, 12),
        BoundPoint(1.18, Location.parse("L2.mlp"), 2e-3, 0.8, 0.95, 1.1, 12),
    )
    found = recommended(held_out, deployed(HALF), points=points)
    assert found.looser == points
    assert found.relaxed == ""
    assert found.notes[0] == (
        "the bound on perplexity holds reliability at 0.20: within 1.12 L2.mlp had 0.95 of the "
        "edits of S and V"
    )


def test_a_choice_without_bound_margin_says_so() -> None:
    held_out = [on_t("recommended", made("L1.mlp", ALL))]
    found = recommended(held_out, looser=Relaxed(BALANCED, "", ()))
    assert (found.met, found.relaxed, found.looser) == (True, "", ())
    assert "nothing useful keeps the margin below the bounds" in found.notes[0]
    assert recommended(held_out).notes == ()


def test_a_recipe_that_kept_its_bounds_on_other_texts_is_said_to() -> None:
    kept = made("L1.mlp", ALL, 1.04, edits=EVERY)
    beyond = deployed(ALL, 1.06, fitted=(kept,))
    found = recommended([on_t("recommended", made("L1.mlp", ALL))], beyond)
    assert not found.met
    assert "kept its bounds on the texts that choose (perplexity x 1.040)" in found.notes[0]


def test_a_trial_for_choosing_may_break_a_bound_that_left_bound_margin() -> None:
    roomy = replace(BALANCED, bound_margin=0.4)
    short = replace(made("L1.mlp", ALL, 1.045), violated=("perplexity_ratio 1.045 is above 1.03",))
    one = on_t("recommended", made("L1.mlp", ALL, 1.01))
    one = replace(one, best=replace(one.best, record=short))
    found = recommended([one], objective=roomy)
    assert found.met
    assert found.bound_margin == 0.4
    assert found.best.violated == ()


def test_the_score_is_named_for_what_it_holds_on_the_edits_to_be_made() -> None:
    whole = made("L1.mlp", HALF)
    measures = tuple(
        replace(m, value=nan, count=0) if m.name == "generalization" else m for m in whole.measures
    )
    blind = replace(whole, measures=measures)
    found = recommended([on_t("recommended", blind)])
    assert found.score_name == "harmonic(reliability, generalization, locality)"
    at = deployment_of(context(), blind, (), 30)
    found = recommended([on_t("recommended", whole)], at)
    assert found.score_name == "harmonic(reliability, locality)"


def test_a_runner_up_beyond_the_bounds_is_said_to_be() -> None:
    found = recommended(pair(made("L1.mlp", HALF), made("L2.mlp", OTHER_HALF, 1.2)))
    assert "which misses a bound (perplexity_ratio 1.2 is above 1.05)" in found.sentence
    assert found.met


def test_nothing_learned_and_nothing_measured_are_missed() -> None:
    one = [on_t("recommended", made("L1.mlp", ALL))]
    nothing = recommended(one, deployed({}))
    assert not nothing.met
    assert nothing.missed == ("the score is 0, as reliability and generalization and locality are",)
    blank = recommended(one, deployed(dict.fromkeys(EVERY, nan)))
    assert blank.missed == ("nothing could be measured",)
    assert "on all 30 edits perplexity x 1.000" in blank.sentence


def test_own_weights_are_in_score_and_margin_and_recorded() -> None:
    objective = objective_of("balanced", {"generalization": 2}, ["locality>=0.1"])
    one = made("L1.mlp", ALL, generalization=0.5, objective=objective)
    other = made("L2.mlp", ALL, generalization=0.25, objective=objective)
    found = recommended(pair(one, other), objective=objective)
    assert found.best.score == pytest.approx(4 / 6)
    assert found.margins[0].value == pytest.approx(4 / 6 - 4 / 10)
    assert found.weights == {"reliability": 1.0, "generalization": 2.0, "locality": 1.0}
    assert "locality>=0.1" in found.bounds
    assert "x 2" in found.score_name
    assert objective_of(found.objective, found.weights, found.bounds).weights == objective.weights


def randoms(*shares: dict[str, float], objective: Objective = BALANCED) -> list[Finalist]:
    """Each with one trial on six edits of T, in turn, as a search has them."""
    parts = (EDITS[:6], EDITS[6:])
    return [
        Finalist(Best(one.trial.location, one, (one,)), role=RANDOM, on_t=(one,))
        for n, share in enumerate(shares)
        for name in [f"L{n}.attn"]
        for one in [
            made(name, share, 1.01 + n / 100, count=n, edits=parts[n % 2], objective=objective)
        ]
    ]


def test_random_locations_are_one_contender_beside_which_each_is_kept() -> None:
    some = randoms(ALL, {}, HALF, OTHER_HALF, dict.fromkeys(EDITS, 0.5))
    found = recommended([on_t("recommended", made("L1.mlp", ALL))], randoms=some)
    scores = [1.0, 0.0, 1.0, 1.0, 0.5]
    assert [one.score for one in found.randoms] == pytest.approx(scores)
    mean = found.contenders[-1]
    assert (mean.role, mean.location) == ("random", "5 random")
    assert mean.score == pytest.approx(0.7)
    half = stats.t.ppf(0.975, 4) * np.std(scores, ddof=1) / np.sqrt(5)
    assert (mean.low, mean.high) == pytest.approx((0.7 - half, min(1, 0.7 + half)))
    assert mean.repetitions == tuple(one.score for one in found.randoms)
    assert mean.parameter_count == 2
    assert isnan(mean.recipe.lr)
    (margin,) = found.margins
    assert (margin.over, margin.location) == ("random", "mean of 5 random locations")
    assert margin.value == pytest.approx(0.3)
    assert margin.low < 0.3 < margin.high
    assert "over the random locations" in margin.protocol
    assert repr(loads(Recommendation, dumps(found))) == repr(found)


@pytest.mark.parametrize(
    ("mine", "drawn", "ahead", "words"),
    [
        (ALL, (HALF, MANY, {}), (), ()),
        (
            HALF,
            ({}, {}, {}, dict.fromkeys(EDITS, 0.3), {}),
            ("L3.attn",),
            ("1 of 5 on the same edits (L3.attn, 0.300 to 0.000).",),
        ),
        (
            MANY,
            (ALL, ALL, MANY),
            ("L0.attn", "L1.attn"),
            (
                "Random locations did better there: their mean (-0.133, 95 % ",
                "; 2 of 3 on the same edits (most L0.attn, 1.000 to 0.800).",
            ),
        ),
        # One alone has no interval: it is named, and is no mean.
        (
            MANY,
            (ALL,),
            ("L0.attn",),
            ("there: 1 of 1 on the same edits (L0.attn, 1.000 to 0.800).",),
        ),
    ],
)
def test_random_locations_that_did_better_are_in_the_sentence(
    mine: dict[str, float],
    drawn: Sequence[dict[str, float]],
    ahead: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    """Bounds decide what is met; the sentence does not keep back that chance did better."""
    parts = [made("L1.mlp", mine, edits=part) for part in (EDITS[:6], EDITS[6:])]
    found = recommended([on_t("recommended", *parts)], randoms=randoms(*drawn))
    assert tuple(map(str, found.ahead)) == ahead
    assert ("Random locations did better" in found.sentence) == bool(words)
    assert all(said in found.sentence for said in words)
    assert found.met


def test_a_random_location_that_breaks_a_bound_is_not_ahead() -> None:
    beyond, ratios = made("L9.attn", ALL, 1.06, edits=EDITS[:6]), (1.04, 1.06)
    one = Finalist(Best(Location.parse("L9.attn"), beyond, (beyond,)), role=RANDOM, on_t=(beyond,))
    for ratio in ratios:
        mine = [made("L1.mlp", MANY, ratio, edits=part) for part in (EDITS[:6], EDITS[6:])]
        found = recommended([on_t("recommended", *mine)], randoms=[one])
        # Where the recommended one breaks it there too, the bound tells nothing apart.
        assert list(map(str, found.ahead)) == (["L9.attn"] if ratio > 1.05 else [])


def test_a_single_random_location_is_no_chance() -> None:
    found = recommended([on_t("recommended", made("L1.mlp", ALL))], randoms=randoms(HALF))
    assert found.contenders[-1].location == Location.parse("L0.attn")
    assert found.contenders[-1].recipe == found.randoms[0].recipe
    assert isnan(found.margins[0].low)
    assert isnan(found.contenders[-1].low)


def test_scores_that_hold_more_than_edits_have_a_margin_over_trials() -> None:
    one = [
        made("L1.mlp", ALL, r, edits=EDITS[i : i + 6], objective=PARETO)
        for i, r in ((0, 1.01), (6, 1.03))
    ]
    some = randoms(HALF, HALF, OTHER_HALF, objective=PARETO)
    found = recommended([on_t("recommended", *one)], objective=PARETO, randoms=some)
    (margin,) = found.margins
    mine = {r.trial.edits: r.score for r in one}
    apart = [mine[o.on_t[0].trial.edits] - o.on_t[0].score for o in some]
    assert margin.value == pytest.approx(np.mean(apart))
    # The two repetitions share no edit, so that nothing is widened.
    half = 4.302652730 * np.std(apart, ddof=1) / 3**0.5
    assert (margin.low, margin.high) == pytest.approx((margin.value - half, margin.value + half))
    assert margin.protocol.startswith("paired by repetition")


def test_pooled_measures_are_means_of_those_repetitions_that_have_them() -> None:
    one, other = made("L1.mlp", ALL), made("L1.mlp", {}, 1.2)
    blind = replace(other, measures=tuple(replace(m, value=nan, count=0) for m in other.measures))
    found = {m.name: m for m in pooled((one, other, blind))}
    assert found["locality"].value == pytest.approx(0.5)
    assert found["perplexity_ratio"].value == pytest.approx(1.1)


RATIOS = ((1.01, 1.02, 1.01, 1.03, 1.02), (1.05, 1.07, 1.04, 1.08, 1.06))


@pytest.mark.parametrize("objective", [CAPABLE, PARETO])
def test_what_holds_more_than_edits_is_paired_by_repetition(objective: Objective) -> None:
    subsets = [EDITS[i : i + 6] for i in (0, 3, 6, 0, 6)]
    one, other = (
        [
            made(name, ALL, ratio, edits=some, objective=objective)
            for ratio, some in zip(row, subsets, strict=True)
        ]
        for name, row in zip(("L1.mlp", "L2.mlp"), RATIOS, strict=True)
    )
    found = recommended([on_t("recommended", *one), on_t("runner-up", *other)], objective=objective)
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


def test_unreliable_edits_miss_what_capability_first_needs() -> None:
    one = [on_t("recommended", made("L1.mlp", ALL, objective=CAPABLE))]
    found = recommended(one, deployed(MANY, objective=CAPABLE), objective=CAPABLE)
    assert found.missed == ("reliability 0.8 is below 0.95",)
    assert found.bounds == ("reliability>=0.95",)


def test_the_front_is_kept_with_its_knee() -> None:
    tried = [
        made("L1.mlp", dict.fromkeys(EDITS, 0.2), 1.001),
        made("L2.mlp", dict.fromkeys(EDITS, 0.9), 1.01),
        made("L3.mlp", dict.fromkeys(EDITS, 0.8), 1.02),
        made("L4.mlp", ALL, 1.05),
        made("L5.mlp", ALL, 1.5),
    ]
    found = recommended([on_t("recommended", tried[1])], tried=tried)
    assert [(str(p.location), p.perplexity_ratio) for p in found.front] == [
        ("L1.mlp", 1.001), ("L2.mlp", 1.01), ("L4.mlp", 1.05),
    ]  # fmt: skip
    assert [point.knee for point in found.front] == [False, True, False]
    assert found.front[1].efficacy == pytest.approx(0.9)
    assert loads(Recommendation, dumps(found)).front == found.front
