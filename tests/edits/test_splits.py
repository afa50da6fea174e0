import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locscope.edits import read_edits
from locscope.edits.splits import _fitting, groups, resample, split
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


@given(EDIT_SETS, st.floats(0.1, 0.9), st.integers(0, 5))
def test_a_split_keeps_groups_whole_and_loses_nothing(edits, share, seed):
    try:
        done = split(edits, share, seed)
    except UsageError:
        assert len(groups(edits, neighbours=False)) < 2
        return
    assert sorted(done.chosen + done.held) == list(range(len(edits)))
    assert done.chosen
    assert done.held
    assert list(done.chosen) == sorted(done.chosen)
    assert all(set(g) <= set(done.chosen) or set(g) <= set(done.held) for g in done.groups)
    assert done == split(edits, share, seed)


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
    done = split([edit(i, f"s{i // 2}", "everywhere") for i in range(20)], 0.5, 0)
    assert (len(done.chosen), len(done.held)) == (10, 10)
    assert "neighbours may be on both sides" in done.note


def test_a_dominating_subject_is_noted_or_refused():
    done = split([edit(i, "one" if i < 8 else f"s{i}") for i in range(10)], 0.5, 0)
    assert sorted([len(done.chosen), len(done.held)]) == [2, 8]
    assert "8 of them share" in done.note
    with pytest.raises(UsageError, match="all share a subject"):
        split([edit(i, "one") for i in range(10)], 0.5, 0)
    for few in ([], [edit(0)]):
        with pytest.raises(UsageError, match="cannot split"):
            split(few, 0.5, 0)
    with pytest.raises(UsageError, match="share of 1"):
        split([edit(0), edit(1)], 1, 0)


def test_resampling_gives_different_subsets_of_whole_groups():
    edits = [edit(i, f"s{i // 3}") for i in range(60)]
    done = split(edits, 0.5, 0)
    subsets = resample(done.held, done.groups, 0.8, 5, 3)
    assert len(set(subsets)) == 5
    for subset in subsets:
        assert len(subset) == 24
        assert set(subset) <= set(done.held)
        assert all(not set(g) & set(subset) or set(g) <= set(subset) for g in done.groups)
    assert subsets == resample(done.held, done.groups, 0.8, 5, 3)
    assert subsets != resample(done.held, done.groups, 0.8, 5, 4)


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
    done = split(edits, 0.6, 0)
    assert (len(done.chosen), len(done.held), done.note) == (1800, 1200, "")
    sides = [{edits[i].subject.casefold() for i in side} for side in (done.chosen, done.held)]
    assert not sides[0] & sides[1]
