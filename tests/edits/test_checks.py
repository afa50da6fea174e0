from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locscope.edits import read_edits
from locscope.edits.checks import (
    drop_edited_neighbours,
    find_conflicts,
    lend_neighbours,
    notes_on_conflicts,
    notes_on_neighbours,
    resolve_conflicts,
)
from locscope.errors import UsageError
from locscope.records import Edit, Probe

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "counterfact_3k.json"


def edit(id: str, prompt: str, target: str, **rest) -> Edit:
    return Edit(id, prompt, target, **rest)


EDITS = (
    edit("1", "A is", "x"),
    edit("2", "B is", "y", rephrases=("b?",)),
    edit("3", " a  IS", "z"),
    edit("4", "b is", "Y", rephrases=("b?", "and b?"), old="o"),
    edit("5", "A is", "x"),
)


def test_conflicts_compare_without_case_and_spacing():
    (conflict,) = find_conflicts(EDITS)
    assert [e.id for e in conflict] == ["1", "3", "5"]
    assert {e.target for e in conflict} == {"x", "z"}


def test_conflicts_are_refused_by_default():
    with pytest.raises(UsageError, match=r"prompts: 1.* 'A is' -> x or z .*--conflicts last"):
        resolve_conflicts(EDITS, None)


def test_many_conflicts_list_three():
    edits = [edit(f"{p}{t}", f"{p} is", t) for p in "abcde" for t in "xy"]
    with pytest.raises(UsageError, match="and 2 more") as caught:
        resolve_conflicts(edits, None)
    assert str(caught.value).count("->") == 3


def test_last_and_drop():
    last = resolve_conflicts(EDITS, "last")
    assert [e.id for e in last] == ["2", "5"]
    assert notes_on_conflicts(EDITS, "last") == (
        "edits left out for conflicting targets: 2 (prompts: 1)",
        "edits merged with one of equal prompt and target: 1",
    )
    assert last[0] == replace(EDITS[1], rephrases=("b?", "and b?"), old="o")
    drop = resolve_conflicts(EDITS, "drop")
    assert [e.id for e in drop] == ["2"]
    notes = notes_on_conflicts(EDITS, "drop")
    assert notes[0] == "edits left out for conflicting targets: 3 (prompts: 1)"
    assert len(notes) == 2


def test_dropping_everything_is_an_error():
    with pytest.raises(UsageError, match="no edits are left"):
        resolve_conflicts([edit("1", "A", "x"), edit("2", "A", "y")], "drop")


def test_unknown_policy():
    with pytest.raises(UsageError, match="unknown policy"):
        resolve_conflicts(EDITS, "first")  # pyright: ignore


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1))
def test_what_is_left_has_one_target_per_prompt(pairs):
    edits = [edit(str(i), p, t) for i, (p, t) in enumerate(pairs)]
    left = resolve_conflicts(edits, "last")
    assert {e.prompt: e.target for e in left} == dict(pairs)
    assert len(left) == len({p for p, _ in pairs})
    notes = notes_on_conflicts(edits, "last")
    counts = [int(note.partition(": ")[2].split()[0]) for note in notes]
    assert len(left) + sum(counts) == len(edits)


def test_edited_neighbours_are_left_out():
    edits = (
        edit("1", "A is", "x", neighbours=(Probe("b IS"), Probe("C is", "c"), Probe("B?"))),
        edit("2", "B is", "y", rephrases=("b?",)),
    )
    trimmed = drop_edited_neighbours(edits)
    assert trimmed[0].neighbours == (Probe("C is", "c"),)
    assert notes_on_neighbours(edits, trimmed) == ("neighbours left out, edited themselves: 2",)
    assert len(edits[0].neighbours) == 3


def test_counterfact_has_five_conflicts_and_28_edited_neighbours():
    if not DATA.exists():
        pytest.skip("no shared data here")
    edits = read_edits(str(DATA)).edits
    assert len(find_conflicts(edits)) == 5
    assert len(resolve_conflicts(edits, "last")) == 2993
    assert len(resolve_conflicts(edits, "drop")) == 2988
    trimmed = drop_edited_neighbours(edits)
    assert notes_on_neighbours(edits, trimmed) == ("neighbours left out, edited themselves: 28",)


def test_neighbours_are_lent_by_edits_that_are_not_tuned():
    tuned = [edit(str(i), f"P{i}", "x") for i in range(5)]
    others = [edit(str(i), f"Q{i}", "x", old=f"o{i}") for i in range(4)] + [edit("9", "p1", "x")]
    lent = lend_neighbours(tuned, others, per_edit=2, seed=1)
    prompts = [n.prompt for e in lent for n in e.neighbours]
    assert set(prompts) == {"Q0", "Q1", "Q2", "Q3"}
    assert max(map(prompts.count, prompts)) - min(map(prompts.count, prompts)) <= 1
    assert all(len(set(e.neighbours)) == 2 for e in lent)
    assert all(n.answer == n.prompt.replace("Q", "o") for e in lent for n in e.neighbours)
    assert lent == lend_neighbours(tuned, others, per_edit=2, seed=1)
    assert not tuned[0].neighbours


def test_edits_that_are_lent_a_neighbour_in_common_have_all_in_common():
    """Prompts that overlapped by one, with an odd number of them, made one group of all edits."""
    tuned = [edit(str(i), f"P{i}", "x") for i in range(20)]
    others = [edit(str(i), f"Q{i}", "x") for i in range(7)]
    lent = [set(one.neighbours) for one in lend_neighbours(tuned, others)]
    assert all(len(one) == 2 for one in lent)
    assert all(one == other or not one & other for one in lent for other in lent)
    assert len(set(map(frozenset, lent))) == 3


def test_nothing_is_lent_where_there_are_neighbours_or_no_lenders():
    own = [edit("1", "A", "x", neighbours=(Probe("N"),)), edit("2", "B", "x")]
    assert lend_neighbours(own, [edit("3", "C", "x")]) == tuple(own)
    assert lend_neighbours(own[1:], []) == tuple(own[1:])
    (one,) = lend_neighbours(own[1:], [edit("3", "C", "x")], per_edit=5)
    assert [n.prompt for n in one.neighbours] == ["C"]


def test_questions_that_need_an_edit_left_out_are_left_out_too():
    shared, own, other = Probe("H", "h"), Probe("G", "g"), Probe("H", "another answer")
    edits = [
        edit("1", "A", "x", multihop=(shared,)),
        edit("2", "B", "x", multihop=(shared, own)),
        edit("3", "A", "y", multihop=(other,)),
        edit("4", "C", "y", multihop=(other,)),
    ]
    last = resolve_conflicts(edits, "last")
    assert [one.multihop for one in last] == [(own,), (other,), (other,)]
    assert (
        notes_on_conflicts(edits, "last")[-1]
        == "multi-hop questions left out, which need an edit left out: 1"
    )
    assert [one.multihop for one in resolve_conflicts(edits, "drop")] == [(own,), ()]
