"""What every strategy keeps, and what each of them is for, in worlds whose best location is
known."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import exp, log

import pytest
from made_up import RULE, World, scan

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.records import Measure, TrialRecord, dumps, loads
from locscope.selection.choice import best_per_location
from locscope.selection.forecast import forecasts
from locscope.selection.space import (
    FULL,
    Space,
    TrialRequest,
    left,
    spent,
    sweep_flops,
)
from locscope.selection.strategies import STRATEGIES, strategy
from locscope.selection.strategies.race import ALWAYS_RUN, RUNG_1, RUNG_2, SURVIVORS, TRIES

WORLDS = [World(peak=peak, part=part) for peak, part in ((3, "mlp.down"), (0, "attn"), (8, "mlp"))]


def best(world: World, space: Space, batches: list[tuple[TrialRequest, ...]]) -> Location:
    """The location that is recommended after these batches."""
    full = [r for r in world.records(batches) if r.trial.rung == FULL]
    return best_per_location(full, space.objective)[0].location


def regret(world: World, space: Space, batches: list[tuple[TrialRequest, ...]]) -> float:
    most = max(world.value_at(one.location) for one in space.candidates)
    return most - world.value_at(best(world, space, batches))


def share(world: World, space: Space, batches: list[tuple[TrialRequest, ...]]) -> float:
    """What was spent, of what a sweep spends."""
    whole = [
        (TrialRequest(c.location, lr, space.full),) for c in space.candidates for lr in c.rates
    ]
    return spent(world.records(batches)) / spent(world.records(whole))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("quarters", [False, True])
def test_ends_and_asks_each_candidate_trial_once(name: str, quarters: bool) -> None:
    world = World(quarters=quarters)
    space = world.space()
    batches = world.search(name, space)
    asked = [ask for batch in batches for ask in batch]
    assert len(set(asked)) == len(asked)
    assert {ask.location for ask in asked} <= {one.location for one in space.candidates}
    assert any(ask.fidelity == space.full for ask in asked)
    assert all(ask.fidelity.edits <= space.edits for ask in asked)
    assert all(ask.fidelity.epochs <= space.epochs for ask in asked)


@pytest.mark.parametrize("name", STRATEGIES)
def test_is_a_pure_function_also_of_records_that_were_read_again(name: str) -> None:
    world = World(quarters=True)
    space, ask = world.space(), strategy(name)
    batches = world.search(name, space)
    for i in range(0, len(batches) + 1, max(1, len(batches) // 8)):
        records = world.records(batches[:i])
        again = [loads(TrialRecord, dumps(record)) for record in records]
        expected = batches[i] if i < len(batches) else ()
        assert ask(space, records) == ask(space, again) == expected


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("amount", [0.01, 0.1, 0.3])
def test_a_share_of_the_sweep_is_kept_within_a_batch(name: str, amount: float) -> None:
    world = World()
    space = world.space(budget=amount)
    held(world, space, world.search(name, space))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("seconds", [1.0, 50_000.0, 200_000.0])
def test_seconds_are_kept_within_a_batch(name: str, seconds: float) -> None:
    world = World()
    space = world.space(budget=seconds, budget_unit="seconds")
    held(world, space, world.search(name, space))


def held(world: World, space: Space, batches: list[tuple[TrialRequest, ...]]) -> None:
    """Nothing is asked for once the budget is spent, but for the one full run that is needed."""
    for i in range(1, len(batches)):
        before = world.records(batches[:i])
        needed = len(batches[i]) == 1 and not any(r.trial.rung == FULL for r in before)
        assert left(space, before) > 0 or needed
    assert best(world, space, batches)


def test_a_sweep_ends_with_its_budget() -> None:
    world = World()
    space = world.space(budget=1.0, budget_unit="seconds")
    (only,) = world.search("sweep", space)
    assert {ask.location for ask in only} == {space.drawn[0]}


def test_without_a_second_look_a_race_starts_where_full_runs_do() -> None:
    world = World()
    space = world.space(budget=1.0, budget_unit="seconds")
    looks, (full,) = world.search("race", space)
    assert all(ask.fidelity.quick for ask in looks)
    assert full.lr == space.of(full.location).lr


def test_an_unknown_strategy_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError, match=r"sweeep.*sweep"):
        strategy("sweeep")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", range(4))
def test_race_finds_a_good_location_for_a_fraction_of_the_sweep(world: World, seed: int) -> None:
    world = replace(world, seed=seed)
    space = world.space()
    batches = world.search("race", space)
    assert regret(world, space, batches) <= 0.02
    assert share(world, space, batches) <= 0.2
    assert regret(world, space, world.search("sweep", space)) == 0


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_race_is_not_misled_by_scans_that_say_the_opposite(world: World, sign: int) -> None:
    space = world.space(world.truth(sign))
    batches = world.search("race", space)
    assert regret(world, space, batches) <= 0.02
    assert share(world, space, batches) <= 0.3


def test_race_goes_by_rungs_and_takes_its_guests_to_the_top() -> None:
    world = World()
    space = world.space()
    first, second, top, *rates = world.search("race", space)
    assert [ask.fidelity.rung for ask in (first[0], second[0], top[0])] == [RUNG_1, RUNG_2, FULL]
    assert {ask.location for ask in first} == {one.location for one in space.candidates}
    assert [ask.lr for ask in first] == [max(one.rates) for one in space.candidates]
    survivors = {ask.location for ask in second}
    always_run = {*space.drawn[:ALWAYS_RUN], RULE}
    assert always_run <= survivors
    assert len(survivors) <= SURVIVORS + len(always_run)
    assert always_run <= {ask.location for ask in top} <= survivors
    assert len(top) <= space.finalists + len(always_run)
    assert len({ask.location for batch in rates for ask in batch}) <= 3 * space.finalists


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("amount", [0.1, 0.3])
def test_with_a_budget_guests_reach_the_top_too(amount: float, seed: int) -> None:
    """Also where full runs drift far more than looks foretold, so that others are promised more."""

    class Drifting(World):
        def record(self, ask: TrialRequest) -> TrialRecord:
            found = super().record(ask)
            if ask.fidelity.quick:
                return found
            ratio = found.measure("perplexity_ratio").value ** 8
            broke = ("perplexity_ratio",) if ratio > 1.05 else ()
            measures = (found.measures[0], Measure("perplexity_ratio", ratio, 5, "p"))
            return replace(found, measures=measures, violated=broke)

    world = Drifting(seed=seed)
    space = world.space(budget=amount)
    asked = [ask for batch in world.search("race", space) for ask in batch]
    full = [ask.location for ask in asked if ask.fidelity == space.full]
    assert {*space.drawn[:ALWAYS_RUN], RULE} <= set(full[: 1 + ALWAYS_RUN + 1])


@pytest.mark.parametrize("step", [1.0, 1 / 3])
def test_race_climbs_to_a_layer_that_its_looks_missed(step: float) -> None:
    class Short(World):
        """Looks see nothing of the best location and of the one beside it."""

        def record(self, ask: TrialRequest) -> TrialRecord:
            found = super().record(ask)
            missed = ask.fidelity.quick and str(ask.location) in ("L3.mlp.down", "L4.mlp.down")
            return replace(found, score=0.0) if missed else found

    world = Short(peak=3, layers=12, best_step=log(step, 3), seed=1)
    space = world.space()
    batches = world.search("race", space)
    looked = {a.location for batch in batches for a in batch if a.fidelity.rung == RUNG_2}
    near = {Location.at(layer, "mlp.down") for layer in (3, 4)}
    assert not near & looked - set(space.drawn[:ALWAYS_RUN])
    assert best(world, space, batches) == best(world, space, world.search("sweep", space))
    asked = [a for batch in batches for a in batch]
    assert len(set(asked)) == len(asked)
    # What looks missed is asked for after its neighbour, at one of its own rates.
    full = [a for a in asked if a.fidelity == space.full]
    led = next(a for a in full if str(a.location) in ("L2.mlp.down", "L5.mlp.down"))
    first = next(a for a in full if str(a.location) in ("L3.mlp.down", "L4.mlp.down"))
    assert full.index(led) < full.index(first)
    assert first.lr in space.of(first.location).rates


def test_race_goes_to_the_part_that_holds_the_best() -> None:
    class Narrow(World):
        """Looks see nothing of whole MLPs, one of which is the best location."""

        def record(self, ask: TrialRequest) -> TrialRecord:
            found = super().record(ask)
            missed = ask.fidelity.quick and str(ask.location).endswith(".mlp")
            return replace(found, score=0.0) if missed else found

        def value_at(self, location: Location | str) -> float:
            held = str(location).replace(".mlp.down", ".mlp")
            return super().value_at(held) - 0.1 * (held != str(location))

    world = Narrow(peak=3, part="mlp")
    space = world.space()
    assert Location.parse("L3.mlp") not in space.drawn[:ALWAYS_RUN]
    assert best(world, space, world.search("race", space)) == Location.parse("L3.mlp")


@pytest.mark.parametrize("finalists", [1, 3])
def test_race_climbs_as_far_as_it_leads(finalists: int) -> None:
    class Far(World):
        """Looks see only the lowest third of the layers, and the best location is above."""

        def record(self, ask: TrialRequest) -> TrialRecord:
            found = super().record(ask)
            high = ask.location.lowest > 8
            return replace(found, score=0.0) if ask.fidelity.quick and high else found

    world = Far(peak=14, layers=24)
    space = replace(world.space(), finalists=finalists)
    assert best(world, space, world.search("race", space)) == Location.parse("L14.mlp.down")


class Rising(World):
    """Tuning harder teaches more, also beyond the bound, which lies inside the grid."""

    def utility(self, location: Location | str, lr: float) -> float:
        return self.value_at(location) * exp(-(((self.steps(location, lr) - 2) / 2) ** 2))


@pytest.mark.parametrize("name", STRATEGIES)
def test_rates_get_finer_where_a_bound_cuts_a_gain_off(name: str) -> None:
    world = Rising(best_step=-0.4)
    space = world.space()
    full = [r for r in world.records(world.search(name, space)) if r.trial.rung == FULL]
    found = best_per_location(full, space.objective)[0].record
    assert not found.violated
    # The bound is met at 1.06 steps; the grid has 0.4 and 1.4.
    assert 0.7 < world.steps(found.trial.location, found.trial.recipe.lr) < 1.06


def test_finalists_are_those_that_lead_where_the_bound_cuts_them_off() -> None:
    """One place is ahead at the highest rate of the grid that all keep, and others beyond it."""

    class Slow(Rising):
        def utility(self, location: Location | str, lr: float) -> float:
            if not str(location).startswith("L9"):
                return super().utility(location, lr)
            return (
                0.6 * self.value_at("L3.mlp.down") * exp(-((self.steps(location, lr) - 0.4) ** 2))
            )

    world = Slow(best_step=-0.4)
    space = replace(world.space(), finalists=1)
    full = [r for r in world.records(world.search("sweep", space)) if r.trial.rung == FULL]
    tried = Counter(record.trial.location for record in full)
    assert {str(location) for location, count in tried.items() if count > 3} == {"L3.mlp.down"}
    assert best_per_location(full, space.objective)[0].location == Location.parse("L3.mlp.down")


@pytest.mark.parametrize("name", ["race", "sweep", "tree"])
def test_a_location_whose_rates_all_break_a_bound_gets_lower_ones(name: str) -> None:
    class Steep(World):
        """The best part breaks the bound at all rates of its grid, and the others are poor."""

        def utility(self, location: Location | str, lr: float) -> float:
            return (
                0.1 if not self.good(location) else max(0.2, 0.9 + 0.01 * self.steps(location, lr))
            )

        def steps(self, location: Location | str, lr: float) -> float:
            return super().steps(location, lr) + 3 * self.good(location)

        def good(self, location: Location | str) -> bool:
            return Location.parse(str(location)).sites[0].part == "mlp.down"

    world = Steep()
    space = world.space()
    full = [r for r in world.records(world.search(name, space)) if r.trial.rung == FULL]
    found = best_per_location(full, space.objective)[0]
    assert world.good(found.location)
    assert not found.record.violated


@pytest.mark.parametrize("finalists", [1, 2, 3])
def test_race_lowers_rates_that_break_the_bounds(finalists: int) -> None:
    """So much too high that all first runs break them; a sweep finds what keeps them."""
    world = World(best_step=-3.0)
    space = replace(world.space(), finalists=finalists)
    batches = world.search("race", space)
    assert all(record.violated for record in world.records(batches[2:3]))
    full = [r for r in world.records(batches) if r.trial.rung == FULL]
    found = best_per_location(full, space.objective)[0]
    assert not found.record.violated
    swept = [r for r in world.records(world.search("sweep", space)) if not r.violated]
    assert found.record.score >= max(r.score for r in swept) - 0.05
    broke = {}
    for record in full:
        location, lr = record.trial.location, record.trial.recipe.lr
        assert lr < broke.get(location, 1.0), "higher than where it broke"
        if record.violated:
            broke[location] = min(lr, broke.get(location, 1.0))


def test_race_tries_the_next_in_line_while_nothing_keeps_the_bounds() -> None:
    class Broken(World):
        def record(self, ask: TrialRequest) -> TrialRecord:
            found = super().record(ask)
            high = Measure("perplexity_ratio", 1.2, 5, "p")
            broken = replace(found, violated=("perplexity_ratio",), measures=(high,))
            return found if ask.fidelity.quick else broken

    broken = Broken()
    space = broken.space()
    batches = broken.search("race", space)
    top, *more = [[a for a in batch if a.fidelity == space.full] for batch in batches[2:]]
    first = {a.location for a in top}
    assert {a.location for batch in more for a in batch} & first, "other rates"
    best = forecasts(space, broken.records(batches[1:2]), ())[0].location
    beside = {best.moved(1), best.moved(-1), best.wider}
    line = {a.location for a in batches[1]} - beside
    assert {a.location for batch in more for a in batch} & line - first, "the next in line"
    assert sum(map(len, (top, *more))) <= (TRIES + 2) * space.finalists


def test_with_a_budget_a_race_looks_where_scans_say_first() -> None:
    for sign in (1, -1):
        world = World()
        space = world.space(world.truth(sign), budget=0.02)
        first = world.search("race", space)[0]
        assert len(first) < len(space.candidates)
        said = sorted(space.candidates, key=lambda one: -sign * world.value_at(one.location))
        top = {one.location for one in said[: len(space.candidates) // 2]}
        assert {ask.location for ask in first} <= top


def test_a_grid_of_rates_grows_while_its_best_is_an_edge() -> None:
    for name in ("sweep", "race", "depth-rule"):
        world = World(best_step=-2.0)
        space = world.space()
        batches = world.search(name, space)
        location = best(world, space, batches)
        full = {
            a.lr for b in batches for a in b if a.location == location and a.fidelity.rung == FULL
        }
        assert min(full) < 0.9 * min(space.of(location).rates)


def test_sweep_asks_for_everything_at_once() -> None:
    world = World()
    space = world.space()
    first, *more = world.search("sweep", space)
    assert {(a.location, a.lr) for a in first} == {
        (one.location, lr) for one in space.candidates for lr in one.rates
    }
    assert {a.fidelity for a in first} == {space.full}
    assert sum(map(len, more)) <= 4 * space.finalists


def test_tree_goes_from_ranges_over_parts_to_layers() -> None:
    world = World(peak=7, part="attn", quarters=True)
    space = world.space()
    ranges, parts, layers, *rates = world.search("tree", space)
    assert {space.of(ask.location).part for ask in ranges} == {"block"}
    assert {space.of(ask.location).layer for ask in ranges} == {-1}
    site = parts[0].location.sites[0]
    assert {ask.location.sites[0].first for ask in parts} == {site.first}
    assert {space.of(a.location).part for a in parts} == {"attn", "mlp", "mlp.up", "mlp.down"}
    inside = range(site.first, site.last + 1)
    assert {space.of(ask.location).layer for ask in layers} == set(inside)
    assert {space.of(ask.location).part for ask in layers} == {"attn"}
    assert all(ask.lr == space.of(ask.location).lr for b in (ranges, parts, layers) for ask in b)
    assert all(ask.lr != space.of(ask.location).lr for batch in rates for ask in batch)
    assert regret(world, space, [ranges, parts, layers, *rates]) <= 0.02


def test_tree_leaves_out_heads_of_layers_beside_the_best_range() -> None:
    world = World(peak=7, part="attn", quarters=True)
    space = world.space()
    far, near = Location.at(0, "attn", 0), Location.at(7, "attn", 0)
    attention = space.of("L7.attn")
    heads = [replace(attention, location=one, layer=one.lowest) for one in (far, near)]
    layers = world.search("tree", replace(space, candidates=(*space.candidates, *heads)))[2]
    asked = {ask.location for ask in layers}
    assert near in asked
    assert far not in asked


def test_tree_without_ranges_begins_with_the_layers_of_the_coarsest_part() -> None:
    world = World()
    space = world.space()
    first = world.search("tree", space)[0]
    assert [str(ask.location) for ask in first] == [f"L{n}.block" for n in range(10)]
    one = replace(space.of("L2.mlp"), location=Location.parse("L2-3.mlp"), layer=-1)
    lone = replace(space, candidates=(*space.candidates, one))
    assert [ask.location for ask in world.search("tree", lone)[0]] == [a.location for a in first]


def test_random_goes_in_the_drawn_order_at_starting_rates() -> None:
    world = World()
    space = world.space()
    batches = world.search("random", space)
    firsts = [batch[0] for batch in batches[:10]]
    assert [ask.location for ask in firsts] == list(space.drawn[:10])
    assert all(ask.lr == space.of(ask.location).lr for ask in firsts)
    assert {ask.location for batch in batches[10:] for ask in batch} <= set(space.drawn[:10])
    other = world.space()
    assert replace(other, seed=1).drawn != space.drawn


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_budget_leaves_some_for_the_rates_of_the_best(name: str) -> None:
    world = World()
    space = world.space(budget=0.3)
    asked = [ask for batch in world.search(name, space) for ask in batch]
    counts = Counter(ask.location for ask in asked)
    assert counts[best(world, space, [tuple(asked)])] >= 3
    assert len(counts) > len(asked) // 2


def test_depth_rule_tries_its_own_location_alone() -> None:
    world = World()
    batches = world.search("depth-rule", world.space())
    assert {ask.location for batch in batches for ask in batch} == {RULE}


def test_tpe_learns_where_to_look() -> None:
    world = World()
    space = world.space()
    batches = world.search("tpe", space)
    asked = [batch[0] for batch in batches[:30]]
    early, late = asked[:10], asked[20:]
    utility = [sum(world.utility(a.location, a.lr) for a in some) for some in (early, late)]
    assert utility[1] > utility[0]
    assert regret(world, space, batches) < 0.1


def test_tpe_reaches_every_location_that_is_named() -> None:
    world = World()
    space, heads = world.space(), [f"L4.attn.h{n}" for n in range(3)]
    joined = ["L4.attn+L5.attn", "L3.attn+L6.attn"]
    named = [
        replace(space.of("L4.attn"), location=Location.parse(str(location)))
        for location in (*heads, *joined)
    ]
    few = replace(space, candidates=(*named, space.of("L4.attn"), space.of(RULE)))
    asked = {ask.location for batch in world.search("tpe", few) for ask in batch}
    assert asked == {one.location for one in few.candidates}


def test_what_a_sweep_takes_is_learned_from_the_trials() -> None:
    world = World()
    space = world.space()
    sweep = world.search("sweep", space)[:1]
    assert sweep_flops(space, []) == 0
    whole = spent(world.records(sweep))
    assert sweep_flops(space, world.records(sweep)) == pytest.approx(whole)
    race = world.search("race", space)
    for first, _ in pairwise(range(len(race))):
        guess = sweep_flops(space, world.records(race[: first + 1]))
        assert guess == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scan_of_any_name_decides_between_equal_looks(sign: int) -> None:
    """Looks that tell parts and layers apart but for neighbours, which are alike."""

    class Level(World):
        def value_at(self, location: Location | str) -> float:
            site = Location.parse(str(location)).sites[0]
            return 0.9 - 0.1 * (site.first // 2) - 0.01 * len(site.part)

    world = Level(noise=0.0)
    seer = scan(lambda layer, part: -(layer // 2) + 0.2 * sign * (layer % 2), name="seer")
    space = world.space(seer)
    second = world.search("race", space)[1]
    always_run = {*space.drawn[:ALWAYS_RUN], RULE}
    asked = dict.fromkeys(ask.location for ask in second)
    layers = [space.of(location).layer for location in asked if location not in always_run]
    assert layers[0] % 2 == (sign > 0)
