"""Layouts that benchmarks publish: what they are judged by is read, wherever it lies."""

import json
from pathlib import Path

import pytest

from locscope.edits import read_edits
from locscope.errors import UsageError
from locscope.records import Edit, Probe

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
WIKI = {
    "subject": "Atlantis",
    "prompt": "The capital of Atlantis is",
    "target_new": "Poseidia",
    "ground_truth": "Kerameikos",
    "rephrase": "Atlantis is ruled from",
    "portability": {
        "Reasoning": [
            {"prompt": "The river of Atlantis' capital is", "ground_truth": [["Styx", "the Styx"]]},
            {"prompt": "Nobody knows the answer to", "ground_truth": [[]]},
        ],
        "Subject_Aliasing": [{"prompt": "The sunken isle has its capital in", "ground_truth": "P"}],
    },
    "locality": {
        "Relation_Specificity": [{"prompt": "Atlantis lies in the", "ground_truth": [["sea"]]}],
        "Forgetfulness": [{"prompt": "Mu lies in the", "ground_truth": ["ocean", "water"]}],
    },
}


def read(folder: Path, *rows: dict):
    path = folder / "edits.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read_edits(str(path))


def test_knowedit(tmp_path):
    edits = read(tmp_path, WIKI)
    assert edits.format == "knowedit"
    assert edits.edits[0] == Edit(
        id="knowedit-1",
        prompt="The capital of Atlantis is",
        target="Poseidia",
        subject="Atlantis",
        old="Kerameikos",
        rephrases=("Atlantis is ruled from",),
        neighbours=(Probe("Atlantis lies in the", "sea"), Probe("Mu lies in the", "ocean")),
        multihop=(
            Probe("The river of Atlantis' capital is", "Styx"),
            Probe("The sunken isle has its capital in", "P"),
        ),
    )
    assert "portability" in edits.notes[0]


@pytest.mark.parametrize(
    "locality",
    [
        {"Relation_Specificity": [{"prompt": "N is", "ground_truth": [["a"]]}]},
        {"Relation_Specificity": [{"prompt": "N is", "ground_truth": ["a", "b"]}]},
        {"Relation_Specificity": {"prompt": "N is", "ground_truth": "a"}},
        {"Relation_Specificity": [{"prompt": ["N is"], "ground_truth": [["a", "b"]]}]},
        {"neighborhood": {"prompt": ["N is"], "ground_truth": ["a", "b"]}},
        [{"prompt": "N is", "ground_truth": ["a"]}],
        [[{"prompt": "N is", "ground_truth": "a"}], [], None],
        {"prompt": "N is", "ground_truth": "a"},
    ],
)
def test_knowedit_however_the_neighbours_lie(tmp_path, locality):
    (edit,) = read(tmp_path, {**WIKI, "locality": locality}).edits
    assert edit.neighbours == (Probe("N is", "a"),)


def test_knowedit_with_lists_of_prompts_and_answers(tmp_path):
    locality = {"Forgetfulness": {"prompt": ["N is", "M is"], "ground_truth": ["a", ["b", "c"]]}}
    (edit,) = read(tmp_path, {**WIKI, "locality": locality}).edits
    assert edit.neighbours == (Probe("N is", "a"), Probe("M is", "b"))


def test_knowedit_without_old_answers_and_with_a_first_row_that_has_no_neighbours(tmp_path):
    bare = {"prompt": "P", "target_new": "new"}
    recent = {key: value for key, value in WIKI.items() if key != "ground_truth"}
    edits = read(tmp_path, bare, recent)
    assert (edits.format, len(edits.edits[1].neighbours)) == ("knowedit", 2)
    assert [edit.old for edit in edits.edits] == ["", ""]


@pytest.mark.parametrize(
    ("locality", "words"),
    [
        ({"Forgetfulness": ["N is"]}, "field 'locality' has a text where an object"),
        ({"Forgetfulness": [{"prompt": 3}]}, "field 'locality.prompt' is a number"),
        (
            {"Forgetfulness": [{"prompt": ["N", "M"], "ground_truth": ["a"]}]},
            "field 'locality' has 2 prompts without",
        ),
        ({"F": [{"prompt": "N", "reply": "a"}]}, "unknown key in 'locality' 'reply'"),
        (3, "field 'locality' has a number"),
    ],
)
def test_knowedit_leaves_out_what_lies_in_no_known_way(tmp_path, locality, words):
    edits = read(tmp_path, WIKI, {**WIKI, "locality": locality})
    (note,) = (note for note in edits.notes if "cannot be used" in note)
    assert words in note
    assert note.endswith("(row 2)")
    with pytest.raises(UsageError, match=f"rows that cannot be used: 1; {words}"):
        read(tmp_path, {**WIKI, "locality": locality})


def test_requests_are_filled_in(tmp_path):
    row = {"prompt": "The capital of {} is", "subject": "Mu", "target_new": {"str": " Hiva"}}
    more = {"case_id": 3, "relation_id": "P36", "target_true": {"str": "Ra", "id": "Q1"}}
    edits = read(tmp_path, row, {**row, **more})
    assert edits.format == "requests"
    assert edits.edits[0] == Edit("requests-1", "The capital of Mu is", "Hiva", "Mu")
    assert (edits.edits[1].id, edits.edits[1].old) == ("3", "Ra")
    assert "not used: relation_id, target_true.id" in edits.notes[0]
    assert "filled with their subject: 2" in edits.notes[1]
    with pytest.raises(UsageError, match=r"row 1: unknown field 'target_new\.text'"):
        read(tmp_path, {**row, "target_new": {"str": "x", "text": "y"}})


def test_counterfact_as_rome_publishes_it(tmp_path):
    request = {
        "prompt": "{} is in",
        "subject": "Mu",
        "relation_id": "P17",
        "target_new": {"str": "Asia", "id": "Q1"},
        "target_true": {"str": "Africa", "id": "Q2"},
    }
    row = {
        "case_id": 9,
        "pararel_idx": 2,
        "requested_rewrite": request,
        "paraphrase_prompts": ["Mu lies in", "One finds Mu in"],
        "neighborhood_prompts": ["Tunis is in", "Lagos is in"],
        "attribute_prompts": ["Hanoi is in"],
        "generation_prompts": ["Mu's neighbours are"],
    }
    edits = read(tmp_path, row)
    assert edits.edits[0] == Edit(
        id="9",
        prompt="Mu is in",
        target="Asia",
        subject="Mu",
        old="Africa",
        rephrases=("Mu lies in", "One finds Mu in"),
        neighbours=(Probe("Tunis is in", "Africa"), Probe("Lagos is in", "Africa")),
    )
    assert "attribute_prompts, generation_prompts" in edits.notes[0]
    (edit,) = read(
        tmp_path, {**row, "requested_rewrite": {**request, "question": "Where is {}?"}}
    ).edits
    assert edit.forms == (Probe("Where is Mu?", "Asia", "question"),)
    with pytest.raises(UsageError, match=r"'requested_rewrite.answers'"):
        read(tmp_path, {**row, "requested_rewrite": {**request, "answers": "Asia"}})


def test_zsre_with_portability(tmp_path):
    asked = {"Recalled Relation": "(a, b)", "New Question": "Where?", "New Answer": "There"}
    edits = read(tmp_path, {"src": "Q?", "alt": "x", "portability": asked, "cond": "a >> b"})
    assert edits.edits[0].multihop == (Probe("Where?", "There"),)
    assert "portability.Recalled Relation, cond" in edits.notes[0]


def test_wikibigedit_as_on_the_hub(tmp_path):
    row = {"update": "Q?", "ans": "x", "subject": "Mu", "rephrase": "q?", "loc": "N?"}
    more = {"loc_ans": "n", "mhop": "H?", "mhop_ans": "h", "object": "x", "tag": "new"}
    edits = read(tmp_path, {**row, **more, "personas": "Ahoy, q?"})
    (edit,) = edits.edits
    assert (edit.rephrases, edit.neighbours) == (("q?",), (Probe("N?", "n"),))
    assert (edit.multihop, edit.target) == ((Probe("H?", "h"),), "x")
    assert "object, tag, personas" in edits.notes[0]


def test_every_prompt_is_filled_in(tmp_path):
    row = {
        "prompt": "The capital of {} is",
        "target": "{}",
        "subject": "Mu",
        "rephrases": ["{subject} is ruled from"],
        "neighbours": ["The river of {} is"],
        "forms": [{"kind": "question", "prompt": "Capital of {}?", "answer": "x"}],
        "multihop": [{"prompt": "The mayor of {}'s capital is", "answer": "y"}],
    }
    (edit,) = read(tmp_path, row).edits
    assert (edit.prompt, edit.target) == ("The capital of Mu is", "{}")
    assert edit.rephrases == ("Mu is ruled from",)
    asked = (*edit.neighbours, *edit.forms, *edit.multihop)
    prompts = ["The river of Mu is", "Capital of Mu?", "The mayor of Mu's capital is"]
    assert [one.prompt for one in asked] == prompts


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "{} is"}, r"the prompt has {} and there is no subject"),
        ({"prompt": "P", "rephrases": "{} is"}, r"a rephrase has {} .* write the subject in"),
        ({"prompt": "P", "neighbours": ["{} is"]}, r"a neighbour has {}"),
        ({"prompt": "{} and {}", "subject": "Mu"}, r"the prompt has {} 2 times"),
    ],
)
def test_a_template_that_cannot_be_filled_names_its_row(tmp_path, row, words):
    with pytest.raises(UsageError, match=f"row 2: {words}"):
        read(tmp_path, {"prompt": "A", "target": "x"}, {**row, "target": "x"})


@pytest.mark.parametrize(
    ("name", "format", "neighbours"),
    [
        ("1/knowedit_wiki_counterfact.json", "knowedit", 3),
        ("1/knowedit_wiki_recent.json", "knowedit", 3),
        ("2/alphaedit_requests.json", "requests", 0),
        ("2/flat_requests_template.json", "counterfact", 1),
        ("3/counterfact_nested.json", "counterfact-nested", 3),
        ("5/wikibigedit_hub.json", "wikibigedit-hub", 1),
        ("20/knowedit_zsre.json", "knowedit", 3),
    ],
)
def test_samples_of_published_files(name, format, neighbours):
    if not (CASES / name).exists():
        pytest.skip("no shared cases here")
    edits = read_edits(str(CASES / name))
    assert edits.format == format
    assert {len(edit.neighbours) for edit in edits.edits} == {neighbours}
    assert not any("{}" in edit.prompt for edit in edits.edits)
