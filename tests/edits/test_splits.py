import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locscope.edits import read_edits
from locscope.edits.splits import (
    DOMINATES,
    PARTS,
    VALIDATED,
    _fitting,
    drawn_order,
    first_edits,
    groups,
    halves,
    resample,
    split,
)
from locscope.errors import UsageError
from locscope.records import Edit, Probe

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def edit(number: int, subject: str = "", *neighbours: str) -> Edit:
    return Edit(str(number), f"P{number}", "x", subject, neighbours=tuple(map(Probe, neighbours)))


def slow_groups(edits):
    """By repeated merging of whatever shares a text."""
    found = []
    for index, one in enumerate(edits):
        texts = {("p", one.prompt.casefold())} | {
            ("p", n.prompt.casefold()) for n in one.neighbours
        }
        texts |= {("s", one.subject.casefold())} if one.subject else set()
        touching = [group for group in found if group[1] & texts]
        found = [group for group in found if group not in touching]
        members = sorted([index, *(i for group in touching for i in group[0])])
        found.append((members, texts.union(*(group[1] for group in touching))))
    return sorted(tuple(members) for members, _ in found)


EDIT_SETS = st.lists(
    st.builds(
        lambda s, n: (s, n),
        st.sampled_from(["", "a", "A", "b", "c", "d", "e", "f"]),
        st.lists(st.sampled_from(["P0", "p1", "n1", "n2", "n3", "n4"]), max_size=1),
    ),
    min_size=1,
    max_size=25,
).map(lambda rows: [edit(i, s, *n) for i, (s, n) in enumerate(rows)])


@given(EDIT_SETS)
def test_groups_equal_the_slow_reference(edits):
    assert sorted(groups(edits)) == slow_groups(edits)


def test_a_chain_is_one_group():
    edits = [edit(0, "a"), edit(1, "A ", "n"), edit(2, "", "N"), edit(3, "", "p2"), edit(4)]
    assert groups(edits) == ((0, 1, 2, 3), (4,))
    assert groups(edits, neighbours=False) == ((0, 1), (2,), (3,), (4,))


def parts_of(done):
    return [done.select, done.validate, done.report]


@given(EDIT_SETS, st.floats(0.1, 0.9), st.integers(0, 5))
@example([edit(0), *(edit(i, "a") for i in range(1, 5)), edit(5, "", "P0")], 0.5, 0)
def test_a_split_keeps_groups_whole_and_loses_nothing(edits, share, seed):
    try:
        done = split(edits, share, seed)
    except UsageError:
        strict, loose = groups(edits), groups(edits, neighbours=False)
        dominated = max(map(len, strict)) > DOMINATES * len(edits)
        assert len(loose if dominated else strict) < PARTS
        return
    assert sorted(sum(parts_of(done), ())) == list(range(len(edits)))
    assert done.choosing == tuple(sorted(done.select + done.validate))
    for part in parts_of(done):
        assert part
        assert list(part) == sorted(part)
        assert all(set(g) <= set(part) or not set(g) & set(part) for g in done.groups)
    assert done == split(edits, share, seed)


@given(st.integers(10, 60), st.sampled_from([0.2, 0.3, 0.5, 0.7]), st.integers(0, 3))
def test_edits_of_their_own_are_split_to_the_nearest_count(count, share, seed):
    done = split([edit(i) for i in range(count)], share, seed)
    assert abs(len(done.select) - share * count) <= 0.5
    left = count - len(done.select)
    assert abs(len(done.validate) - VALIDATED * left) <= 0.5


@given(st.lists(st.integers(1, 5), min_size=3, max_size=7), st.floats(0.1, 0.9))
def test_sizes_of_parts_are_as_near_as_whole_groups_allow(sizes, share):
    """Against every way to take groups for S, and then for V of what is left."""
    edits = [edit(f"{n}-{i}", f"s{n}") for n, size in enumerate(sizes) for i in range(size)]
    if max(sizes) > DOMINATES * len(edits):
        return
    done = split(edits, share, 0)

    def nearest(some, target, spare):
        """The least distance that leaves so many groups over."""
        takes = (n for n in range(1, 2 ** len(some)) if len(some) - n.bit_count() >= spare)
        sums = [sum(s for i, s in enumerate(some) if n >> i & 1) for n in takes]
        return min(abs(s - target) for s in sums)

    mine = abs(len(done.select) - share * len(edits))
    free = nearest(sizes, share * len(edits), 1)
    # Where the best fit would leave but one group over, one of them goes back.
    if abs(mine - free) > 1e-9:
        assert len([g for g in done.groups if not set(g) <= set(done.select)]) == 2
    rest = [len(g) for g in done.groups if not set(g) <= set(done.select)]
    target = VALIDATED * sum(rest)
    assert abs(len(done.validate) - target) == pytest.approx(nearest(rest, target, 1))


@given(EDIT_SETS, st.integers(1, 6), st.integers(0, 3))
def test_halves_are_disjoint_whole_and_about_equal(edits, count, seed):
    found = groups(edits)
    some = range(0, len(edits), 2)
    subsets = halves(some, found, count, seed)
    inside = [set(g) & set(some) for g in found if set(g) & set(some)]
    assert len(subsets) == min(count, len(inside))
    assert sorted(sum(subsets, ())) == list(some)
    for subset in subsets:
        assert subset
        assert list(subset) == sorted(subset)
        assert all(g <= set(subset) or not g & set(subset) for g in inside)
    sizes = sorted(map(len, subsets))
    # Largest first into the smallest: no two differ by more than the largest group.
    assert sizes[-1] - sizes[0] <= max(map(len, inside))
    assert subsets == halves(some, found, count, seed)


def test_halves_are_drawn_by_the_seed():
    singles = tuple((i,) for i in range(20))
    assert halves(range(20), singles, 2, 0) != halves(range(20), singles, 2, 1)
    assert [len(one) for one in halves(range(20), singles, 3, 0)] == [7, 7, 6]


@given(EDIT_SETS, st.integers(1, 30), st.integers(0, 3))
def test_first_edits_are_nested_and_those_of_a_group_follow_each_other(edits, count, seed):
    found = groups(edits)
    order = drawn_order(range(len(edits)), found, seed)
    firsts = list(dict.fromkeys(next(g for g in found if i in g) for i in order))
    assert [i for g in firsts for i in g] == list(order)
    ids = first_edits(edits, count, seed)
    assert list(ids) == [e.id for i, e in enumerate(edits) if i in order[:count]]
    assert set(ids) <= set(first_edits(edits, count + 1, seed))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=9), st.floats(0.1, 0.9))
def test_sizes_are_as_near_as_the_groups_allow(sizes, share):
    members = [[0] * size for size in sizes]
    target = share * sum(sizes)
    taken = _fitting(members, target, random.Random(0))
    subsets = range(1, 2 ** len(sizes) - 1)
    sums = [sum(s for i, s in enumerate(sizes) if n >> i & 1) for n in subsets]
    best = min(abs(s - target) for s in sums)
    assert abs(sum(sizes[i] for i in taken) - target) == pytest.approx(best)


def test_many_groups_are_still_fitted():
    members = [[0] * (1 + i % 3) for i in range(5000)]
    taken = _fitting(members, 0.6 * 9999, random.Random(0))
    assert abs(sum(len(members[i]) for i in taken) - 0.6 * 9999) < 1


def test_neighbours_shared_by_all_do_not_stop_a_split():
    done = split([edit(i, f"s{i // 2}", "everywhere") for i in range(20)], 0.3, 0)
    assert list(map(len, parts_of(done))) == [6, 8, 6]
    assert "neighbours may be on both sides" in done.note


def test_a_dominating_subject_is_noted_or_refused():
    done = split([edit(i, "one" if i < 8 else f"s{i}") for i in range(10)], 0.5, 0)
    assert sorted(map(len, parts_of(done))) == [1, 1, 8]
    assert "8 of them share" in done.note
    with pytest.raises(UsageError, match="they form 1 group of shared subjects"):
        split([edit(i, "one") for i in range(10)], 0.5, 0)
    with pytest.raises(UsageError, match="they form 2 groups"):
        split([edit(i, f"s{i % 2}") for i in range(10)], 0.5, 0)
    for few in ([], [edit(0)], [edit(0), edit(1)]):
        with pytest.raises(UsageError, match="cannot split"):
            split(few, 0.5, 0)
    with pytest.raises(UsageError, match="share of 1"):
        split([edit(0), edit(1)], 1, 0)


def test_three_groups_are_one_each():
    done = split([edit(i, f"s{i // 3}") for i in range(9)], 0.9, 0)
    assert list(map(len, parts_of(done))) == [3, 3, 3]


def test_resampling_gives_different_subsets_of_whole_groups():
    edits = [edit(i, f"s{i // 3}") for i in range(120)]
    done = split(edits, 0.3, 0)
    subsets = resample(done.report, done.groups, 0.8, 5, 3)
    assert len(set(subsets)) == 5
    for subset in subsets:
        assert abs(len(subset) - 0.8 * len(done.report)) <= 1.5
        assert set(subset) <= set(done.report)
        assert all(not set(g) & set(subset) or set(g) <= set(subset) for g in done.groups)
    assert subsets == resample(done.report, done.groups, 0.8, 5, 3)
    assert subsets != resample(done.report, done.groups, 0.8, 5, 4)


def test_resampling_few_groups_widens_then_refuses():
    singles = tuple((i,) for i in range(4))
    assert len(set(resample(range(4), singles, 0.8, 5, 0))) == 5
    with pytest.raises(UsageError, match="2 groups give only 2 different subsets, not 5"):
        resample(range(2), singles, 0.8, 5, 0)
    with pytest.raises(UsageError, match="1 groups give only 0"):
        resample([0], singles, 0.8, 5, 0)


@pytest.mark.parametrize("name", ["zsre_3k", "counterfact_3k", "wikibigedit_3k"])
def test_published_sets_split_exactly(name):
    if not (DATA / f"{name}.json").exists():
        pytest.skip("no shared data here")
    edits = read_edits(str(DATA / f"{name}.json")).edits
    done = split(edits, 0.3, 0)
    assert (*map(len, parts_of(done)), done.note) == (900, 1200, 900, "")
    sides = [{edits[i].subject.casefold() for i in part} for part in parts_of(done)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_edits_that_a_question_needs_are_in_one_group():
    hop = (Probe("Who rows?", "Charon"),)
    edits = [Edit(str(i), f"P{i}", "x", f"S{i}", multihop=hop * (i in (1, 3))) for i in range(5)]
    assert groups(edits) == ((0,), (1, 3), (2,), (4,))
    assert len(groups(edits, neighbours=False)) == 5
