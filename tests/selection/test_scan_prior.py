"""What scans may move in the line: little, and only those that predicted the looks."""

from dataclasses import replace
from math import isnan, nan

import pytest
from made_up import World, scan

from locscope.locations import PAPER_PARTS, Location
from locscope.records import ScanResult
from locscope.selection.forecast import Forecast, forecasts
from locscope.selection.scan_prior import NOISE, location_score, scan_priors, with_scan_prior
from locscope.selection.space import Space, TrialRequest
from locscope.selection.strategies.race import first_rung

WORLD = World(noise=0.0)


def line_of(space: Space, world: World = WORLD) -> tuple[Forecast, ...]:
    """What the first look shows of every candidate at its starting rate."""
    fidelity = first_rung(space)[0].fidelity
    looks = [world.record(TrialRequest(c.location, c.lr, fidelity)) for c in space.candidates]
    return forecasts(space, looks, looks)


def test_a_scan_that_is_right_speaks_for_the_best_within_each_part() -> None:
    space = WORLD.space(WORLD.truth())
    found = scan_priors(space, line_of(space))
    for part in PAPER_PARTS:
        locations = [Location.at(layer, part) for layer in range(10)]
        by_utility = sorted(locations, key=WORLD.value_at)
        assert [found[location] for location in by_utility] == sorted(found[p] for p in locations)
        assert found[by_utility[-1]] == pytest.approx(1.0)
        assert found[by_utility[0]] == pytest.approx(-1.0)


def test_a_scan_that_is_wrong_or_knows_nothing_is_not_heard() -> None:
    flat = scan(lambda layer, part: 1.0, variant="flat")
    blind = scan(lambda layer, part: nan, variant="blind")
    for silent in (WORLD.truth(-1), flat, blind):
        space = WORLD.space(silent)
        line = line_of(space)
        assert set(scan_priors(space, line).values()) == {0.0}
        assert with_scan_prior(space, line) == line


def test_a_scan_of_which_low_is_good_is_read_so() -> None:
    low = WORLD.truth(-1)
    low = replace(low, descriptor=replace(low.descriptor, sign=-1))
    space, other = WORLD.space(low), WORLD.space(WORLD.truth())
    assert scan_priors(space, line_of(space)) == scan_priors(other, line_of(other))


def test_a_wrong_scan_beside_a_right_one_changes_nothing() -> None:
    space = WORLD.space(WORLD.truth())
    both = WORLD.space(WORLD.truth(), WORLD.truth(-1))
    assert scan_priors(space, line_of(space)) == scan_priors(both, line_of(both))


def test_no_location_is_moved_by_more_than_the_noise_of_the_looks() -> None:
    space = WORLD.space(WORLD.truth())
    line = line_of(space)
    before = {one.location: one.value for one in line}
    after = {one.location: one.value for one in with_scan_prior(space, line)}
    most = NOISE * max(before.values())
    assert all(abs(after[location] - before[location]) <= most + 1e-12 for location in before)
    assert any(after[location] != before[location] for location in before)
    values = [one.value for one in with_scan_prior(space, line)]
    assert values == sorted(values, reverse=True)
    assert with_scan_prior(space, ()) == ()


def test_a_right_scan_decides_between_what_looks_cannot_tell_apart() -> None:
    space = WORLD.space(WORLD.truth())
    line = line_of(space)
    best = line[0]
    part = str(best.location).partition(".")[2]
    two = [one for one in line if str(one.location).partition(".")[2] == part][:2]
    better, worse = sorted(two, key=lambda one: -WORLD.value_at(one.location))
    level = [replace(one, value=best.value) if one in two else one for one in line]
    for given in (level, level[::-1]):
        order = [one.location for one in with_scan_prior(space, given)]
        assert order.index(better.location) < order.index(worse.location)
    assert order[0] == better.location


def test_ties_of_a_scan_speak_neither_way() -> None:
    """A scan that knows the best three layers of a part and nothing of the others."""
    knows = scan(lambda layer, part: float(WORLD.value_at(f"L{layer}.{part}") > 0.8), variant="top")
    space = WORLD.space(knows)
    line = line_of(space)
    forwards, backwards = scan_priors(space, line), scan_priors(space, tuple(reversed(line)))
    assert any(forwards.values())
    assert {location: round(value, 9) for location, value in forwards.items()} == {
        location: round(value, 9) for location, value in backwards.items()
    }


def cells(scan: ScanResult, variant: str = "v"):
    return scan.of_locations(variant)


def test_a_range_is_utility_the_mean_of_its_layers_and_nothing_where_one_is_missing() -> None:
    truth = WORLD.truth()
    for location in ("L3.mlp", "L2-5.attn", "L0-1.mlp.up+L9.block"):
        single = [
            WORLD.value_at(f"L{n}.{site.part}")
            for site in Location.parse(location).sites
            for n in range(site.first, site.last + 1)
        ]
        assert location_score(cells(truth), Location.parse(location)) == pytest.approx(
            sum(single) / len(single)
        )
    assert isnan(location_score(cells(truth), Location.parse("L8-11.mlp")))
    assert isnan(location_score(cells(truth), Location.parse("L3.mlp.gate")))
    assert isnan(location_score(cells(truth), Location.parse("L3.attn.h1")))
