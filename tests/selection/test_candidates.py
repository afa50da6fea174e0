"""Which locations are tried and at which starting rates, against counting by hand."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import SIZES, info, scan

from locscope.errors import UsageError
from locscope.locations import PAPER_PARTS, Location
from locscope.selection.candidates import (
    FIRST_STEP,
    LEARNS_IN_FULL,
    Candidate,
    candidates,
    depth_rule,
    first_step_for,
    located,
    named,
    quarters,
    rounded,
    shuffled,
    spans_of,
)


def norm(layer: int, part: str) -> float:
    """Of the gradient, made up: no two are alike."""
    return 1.7 + layer * 3.1 + 0.01 * SIZES[part] + 0.1 * len(part)


GRADIENT = scan(norm)


def found(
    parts: Sequence[str], *locations: str, norm_of=None, **spans: int
) -> dict[str, Candidate]:
    where = located(info(), parts, locations, **spans)
    made = candidates(info(), GRADIENT, where, norm_of)
    names = [str(one.location) for one in made]
    assert len(set(names)) == len(names)
    return dict(zip(names, made, strict=True))


def brute_rate(location: str) -> float:
    """Rate times the sum of |gradient| over all weights is the change that is wanted."""
    sites = Location.parse(location).sites
    total = sum(norm(n, s.part) for s in sites for n in range(s.first, s.last + 1))
    return FIRST_STEP / total


def test_every_part_of_every_layer_by_default() -> None:
    made = found(PAPER_PARTS)
    assert list(made) == [f"L{layer}.{part}" for layer in range(10) for part in PAPER_PARTS]
    for location, one in made.items():
        layer, part = location[1:].split(".", 1)
        assert (one.layer, one.part, one.parameters) == (int(layer), part, SIZES[part])
        assert one.lr == pytest.approx(brute_rate(location), rel=5e-3)


@given(st.integers(1, 40), st.integers(1, 6), st.booleans())
def test_ranges_lie_in_the_model_and_have_the_sum_of_their_layers(
    layers: int, consecutive: int, wide: bool
) -> None:
    gradient, model = scan(norm, layers), info(layers)
    where = located(model, ("mlp", "attn"), quarters=wide, consecutive=consecutive)
    made = candidates(model, gradient, where)
    locations = [one.location.sites[0] for one in made]
    assert len({one.location for one in made}) == len(made)
    assert {(p.first, p.part) for p in locations if p.first == p.last} == {
        (n, part) for n in range(layers) for part in ("mlp", "attn")
    }
    for one, location in zip(made, locations, strict=True):
        assert 0 <= location.first <= location.last < layers
        inside = range(location.first, location.last + 1)
        assert one.parameters == len(inside) * SIZES[location.part]
        assert one.lr == pytest.approx(brute_rate(str(one.location)), rel=5e-3)
        assert one.layer == (location.first if len(inside) == 1 else -1)
    runs = {(n, n + consecutive - 1) for n in range(layers - consecutive + 1)}
    assert runs <= {(p.first, p.last) for p in locations}


@given(st.integers(1, 100))
def test_quarters_cover_every_layer_once_and_pairs_are_two_of_them(layers: int) -> None:
    spans = quarters(layers)
    single = [span for span in spans[:4] if spans.count(span)]
    assert all(0 <= low <= high < layers for low, high in spans)
    if layers >= 4:
        four, pairs = spans[:4], spans[4:]
        covered = [n for low, high in four for n in range(low, high + 1)]
        assert covered == list(range(layers))
        sizes = [high - low + 1 for low, high in four]
        assert max(sizes) - min(sizes) <= 1
        assert pairs == [(four[i][0], four[i + 1][1]) for i in range(3)]
    assert single


def test_quarters_of_odd_numbers_of_layers() -> None:
    assert quarters(4) == [(0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (1, 2), (2, 3)]
    assert quarters(7) == [(0, 1), (2, 3), (4, 4), (5, 6), (0, 3), (2, 4), (4, 6)]
    assert quarters(32)[:4] == [(0, 7), (8, 15), (16, 23), (24, 31)]
    spans = spans_of(3, 1, wide=True)
    assert len(spans) == len(set(spans))


def test_more_layers_in_a_row_than_there_are_give_none() -> None:
    assert list(found(("mlp",), consecutive=11)) == [f"L{n}.mlp" for n in range(10)]


def test_named_locations_are_measured_only_where_the_scan_does_not_know_them() -> None:
    asked: list[str] = []

    def norm_of(location: Location) -> float:
        asked.append(str(location))
        return 12.0

    names = ("L3.mlp", "L2-4.attn", "L1.attn.h2", "L1.mlp+L2.mlp", "L2-4.attn")
    made = found(("mlp",), *names, norm_of=norm_of)
    assert list(made) == [*(f"L{n}.mlp" for n in range(10)), *names[1:4]]
    assert asked == ["L1.attn.h2", "L1.mlp+L2.mlp"]
    assert made["L2-4.attn"].lr == pytest.approx(brute_rate("L2-4.attn"), rel=5e-3)
    assert made["L1.attn.h2"].lr == rounded(FIRST_STEP / 12)
    assert made["L1.mlp+L2.mlp"].parameters == 2 * SIZES["mlp"]
    layers = {str(one.location): one.layer for one in made.values()}
    assert layers["L2-4.attn"] == layers["L1.mlp+L2.mlp"] == -1
    assert layers["L1.attn.h2"] == 1
    with pytest.raises(ValueError, match=r"norm of L1\.attn\.h2"):
        found(("mlp",), "L1.attn.h2")


def test_the_grid_of_rates_is_one_a_third_and_three() -> None:
    one = found(("mlp",))["L3.mlp"]
    assert one.rates[0] == one.lr
    assert one.rates[1:] == (rounded(one.lr / 3), rounded(3 * one.lr))
    assert rounded(0.0123456) == 0.0123
    halved = candidates(info(), GRADIENT, located(info(), ("mlp",)), first_step=FIRST_STEP / 2)
    assert halved[3].lr == pytest.approx(one.lr / 2, rel=1e-2)


def test_parts_that_the_model_lacks_are_left_out_and_all_of_them_refused() -> None:
    small = info(4, ("mlp", "attn"))
    made = candidates(small, scan(norm, 4), located(small, ("mlp", "block")))
    assert {one.part for one in made} == {"mlp"}
    with pytest.raises(UsageError, match="none of the parts block"):
        located(small, ("block",))


@pytest.mark.parametrize("value", [0.0, nan, inf])
def test_a_location_without_a_gradient_is_refused(value: float) -> None:
    flat = scan(lambda layer, part: value if (layer, part) == (2, "mlp") else 1.0)
    with pytest.raises(UsageError, match=r"no learning rate for recipe full at L2\.mlp"):
        candidates(info(), flat, located(info(), ("mlp",)))


def test_the_depth_rule_goes_by_relative_depth() -> None:
    assert str(depth_rule(info(32))) == "L22.mlp.down"
    assert str(depth_rule(info(10))) == "L7.mlp.down"
    assert str(depth_rule(replace(info(28), family="qwen2"))) == "L6.mlp.down"


def test_the_drawn_order_hangs_on_the_seed_alone() -> None:
    some = list(found(PAPER_PARTS).values())
    assert shuffled(some, 3) == shuffled(some[::-1], 3)
    assert shuffled(some, 3) != shuffled(some, 4)
    assert sorted(shuffled(some, 3), key=some.index) == some
    assert named(some, Location.parse("L1.mlp")) == some[7]
    assert named(some, Location.parse("L11.mlp")) is None


def test_starting_rates_go_by_what_there_is_to_learn() -> None:
    """Twice the loss, or half the steps, is twice the first step; without a loss it is fixed."""
    one = first_step_for(4.0, 100)
    assert first_step_for(8.0, 100) == pytest.approx(2 * one)
    assert first_step_for(4.0, 50) == pytest.approx(2 * one)
    assert one * 100 == pytest.approx(LEARNS_IN_FULL * 4.0)
    assert first_step_for(float("nan"), 100) == first_step_for(0.0, 100) == FIRST_STEP
