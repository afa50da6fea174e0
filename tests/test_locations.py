"""The one name for a place in a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locscope.errors import UsageError
from locscope.locations import PAPER_PARTS, PARTS, Location, Site


@st.composite
def sites(draw: st.DrawFn) -> Site:
    first = draw(st.integers(0, 200))
    last = first + draw(st.integers(0, 30))
    head = draw(st.none() | st.integers(0, 128))
    part = draw(st.sampled_from(PARTS)) if head is None else "attn"
    return Site(first, last, part, head)


@given(st.lists(sites(), min_size=1, max_size=4))
def test_what_is_printed_reads_back_as_the_same(chosen: list[Site]):
    location = Location(tuple(chosen))
    assert Location.parse(str(location)) == location
    assert str(Location.parse(str(location))) == str(location)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L22.mlp.down", (Site(22, 22, "mlp.down"),)),
        ("L6.attn", (Site(6, 6, "attn"),)),
        ("L23.block", (Site(23, 23, "block"),)),
        ("L8-15.mlp.up", (Site(8, 15, "mlp.up"),)),
        ("L4.attn.h3", (Site(4, 4, "attn", 3),)),
        ("L0.attn.q + L1-2.mlp", (Site(0, 0, "attn.q"), Site(1, 2, "mlp"))),
    ],
)
def test_the_forms_of_the_design_are_read(text: str, expected: tuple[Site, ...]):
    assert Location.parse(text).sites == expected


def test_lowest_and_highest_layer_span_all_sites():
    location = Location.parse("L8-15.mlp.up+L4.attn.h3+L9.block")
    assert (location.lowest, location.highest) == (4, 15)


def test_cells_are_every_layer_and_part_once_and_none_with_heads():
    cells = Location.parse("L1-2.mlp+L2-3.mlp+L1.attn").cells
    assert cells == ((1, "mlp"), (2, "mlp"), (3, "mlp"), (1, "attn"))
    assert Location.parse("L4.attn.h3+L5.mlp").cells == ()


def test_at_is_one_part_of_one_layer():
    assert str(Location.at(22, "mlp.down")) == "L22.mlp.down"
    assert str(Location.at(4, "attn", 3)) == "L4.attn.h3"


def test_a_range_of_one_layer_prints_as_that_layer():
    assert str(Location.parse("L3-3.mlp")) == "L3.mlp"


def test_the_parts_of_the_paper_are_parts():
    assert set(PAPER_PARTS) <= set(PARTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mlp.down", "cannot read location 'mlp.down': write L<layer>.<part>"),
        ("22.mlp.down", "location '22.mlp.down': did you mean L22.mlp.down\\? write L<layer>"),
        ("", "cannot read location ''"),
        ("L3", "cannot read location 'L3'"),
        ("L-1.mlp", "cannot read location 'L-1.mlp'"),
        ("L3.mlp+", "cannot read location 'L3.mlp\\+'"),
        ("l3.mlp", "cannot read location 'l3.mlp'"),
        ("L3.mlp.sideways", "unknown part 'mlp.sideways' in 'L3.mlp.sideways': there are mlp.gate"),
        ("L3.mlp+L4.ffn", "unknown part 'ffn' in 'L3.mlp\\+L4.ffn'"),
        ("L5-3.mlp", "empty layer range in 'L5-3.mlp'"),
        ("L3.mlp.h2", "'L3.mlp.h2': a head is written L3.attn.h2"),
        ("L3.attn.q.h2", "a head is written L3.attn.h2"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        Location.parse(text)


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("L1.mlp+L0.attn", "L0.attn+L1.mlp"),
        ("L1.mlp+L1.mlp", "L1.mlp"),
        ("L1.mlp+L1.mlp.down", "L1.mlp"),
        ("L2.attn.h3+L0-4.block+L5.mlp", "L0-4.block+L5.mlp"),
        ("L2.attn.h3+L2.attn.h1", "L2.attn.h1+L2.attn.h3"),
        ("L2.attn.h3+L2.attn", "L2.attn"),
        ("L1-2.mlp+L2-3.mlp+L2.mlp.up+L4.mlp", "L1-2.mlp+L2-3.mlp+L4.mlp"),
        ("L1.mlp.down+L1.mlp.up", "L1.mlp.down+L1.mlp.up"),
    ],
)
def test_tidy_writes_the_same_weights_in_one_way(text: str, tidy: str):
    assert str(Location.parse(text).tidy) == tidy
    assert Location.parse(tidy).tidy == Location.parse(tidy)


def test_wider_is_the_part_that_holds_another():
    found = ["L4.attn.h3"]
    while (place := Location.parse(found[-1]).wider) is not None:
        found.append(str(place))
    assert found == ["L4.attn.h3", "L4.attn", "L4.block"]
    assert str(Location.parse("L3-5.mlp.up").wider) == "L3-5.mlp"
    assert str(Location.parse("L3.mlp.up+L3.mlp.down").wider) == "L3.mlp"
    assert Location.parse("L3.mlp+L4.block").wider is None


def test_moved_is_the_same_parts_of_other_layers():
    assert str(Location.parse("L3.mlp+L8-9.attn").moved(1)) == "L4.mlp+L9-10.attn"
    assert Location.parse("L4.attn.h3").moved(-4) == Location.at(0, "attn", 3)
