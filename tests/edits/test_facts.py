"""The edits of `--edits facts`: enough of them, of our own tables, none of them contradicted."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from locscope.edits import read_edits, settled
from locscope.edits.checks import find_conflicts
from locscope.runs.note import BUNDLED
from locscope.settings import SearchSettings
from locscope.workflows.early.edits import split_edits

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses.facts import NEAR, Fact, candidates, edits_of, prompt_of  # noqa: E402

FOUND = read_edits("facts")
WORDINGS, FACTS = candidates()


def test_there_are_enough_and_each_has_rephrases_and_neighbours():
    assert len(FOUND.edits) >= 200
    assert (FOUND.name, FOUND.source) == ("facts", "facts")
    assert FOUND.source in BUNDLED
    for edit in FOUND.edits:
        assert edit.subject
        assert edit.old
        assert edit.target != edit.old
        assert len(set(edit.rephrases) | {edit.prompt}) == 4
        assert len({probe.prompt for probe in edit.neighbours}) == 3
        assert all(probe.answer for probe in edit.neighbours)
        assert all(edit.subject.lower() in text.lower() for text in (edit.prompt, *edit.rephrases))


@pytest.mark.parametrize("limit", [60, 100, None])
def test_a_search_can_split_them(limit: int | None):
    """Also the few of `make real`: many share neighbours, which do not hold them together."""
    found = split_edits(SearchSettings(edits="facts", limit=limit))
    sizes = [len(part) for part in (found.parts.select, found.parts.validate, found.parts.report)]
    count = len(found.edit_set.edits)
    assert sizes == pytest.approx([0.3 * count, 0.4 * count, 0.3 * count], abs=1.5)
    assert len(set(found.on_t)) == 3


def test_no_edit_contradicts_another_or_touches_a_neighbour():
    assert not find_conflicts(FOUND.edits)
    whole = settled(FOUND, None)
    assert whole.edits == FOUND.edits
    prompts = {edit.prompt for edit in FOUND.edits}
    assert not prompts & {probe.prompt for edit in FOUND.edits for probe in edit.neighbours}


def test_targets_are_answers_of_the_same_relation_and_old_ones_are_those_of_the_tables():
    of = {
        prompt_of(wording, fact.subject): fact
        for fact in FACTS
        for wording in WORDINGS[fact.relation]
    }
    values = {fact.relation: set() for fact in FACTS}
    for fact in FACTS:
        values[fact.relation] |= set(fact.answers)
    for edit in FOUND.edits:
        fact = of[edit.prompt]
        assert edit.old in fact.answers
        assert edit.target in values[fact.relation] - set(fact.answers)
        assert {of[text].subject for text in edit.rephrases} == {fact.subject}
        for probe in edit.neighbours:
            assert of[probe.prompt].relation == NEAR.get(fact.relation, fact.relation)
            assert probe.answer in of[probe.prompt].answers
    relations = Counter(of[edit.prompt].relation for edit in FOUND.edits)
    assert len(relations) >= 8


def test_only_what_a_model_says_becomes_an_edit():
    wordings = ("{} is", "{} was", "{} has", "{} had")
    facts = [Fact("x", f"Thing {n}", (f"word{n % 3}", "other")) for n in range(12)]
    said = {f"Thing {n} is": f" word{n % 3}, they say" if n else " wordless" for n in range(12)}
    rows = edits_of("x", {"x": wordings}, facts, said)
    asked = {row["prompt"] for row in rows}
    near = {probe["prompt"] for row in rows for probe in row["neighbours"]}
    assert len(rows) == 8
    assert "Thing 0 is" not in asked | near
    assert not asked & near
    assert all(row["target"] != row["old"] for row in rows)
    assert edits_of("x", {"x": wordings}, facts[:6], said) == []
