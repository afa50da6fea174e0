"""Fields that a reader does not use: named or refused, in every format alike."""

import json
from pathlib import Path

import pytest
from formats import MINIMAL

from locscope.edits import FORMATS, read_edits
from locscope.edits.rows import Row
from locscope.errors import UsageError

PROBES = {"locality": {"Relation_Specificity": [{"prompt": "N is", "ground_truth": [["a"]]}]}}
EVALUATION = [
    ("rephrase_of_it", "Where is P?"),
    ("neighbour_tests", ["N is in"]),
    ("portability_tests", {"Reasoning": [{"prompt": "M is", "ground_truth": [["b"]]}]}),
    ("context_prompts", ["A is"]),
    ("source", {"prompt": "an object is no source"}),
]
METADATA = [
    ("relation_id", "P36"),
    ("known_id", 7),
    ("pararel_idx", "12"),
    ("source", "NQ"),
    ("tags", ["a", "b"]),
    ("confidence", 0.5),
    ("checked", True),
]


def read(folder: Path, rows: list[dict]):
    path = folder / "edits.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read_edits(str(path))


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize(("field", "value"), EVALUATION)
def test_what_an_edit_may_be_judged_by_is_refused(tmp_path, name, field, value):
    with pytest.raises(UsageError, match=rf"row 2: unknown field '{field}'"):
        read(tmp_path, [MINIMAL[name], {**MINIMAL[name], field: value}])


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize(("field", "value"), METADATA)
def test_metadata_goes_by_with_a_note(tmp_path, name, field, value):
    if field in FORMATS[name].reads:
        pytest.skip("the format reads it")
    edits = read(tmp_path, [MINIMAL[name], {**MINIMAL[name], field: value}])
    assert f"fields of the file that are not used: {field}" in edits.notes


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize("empty", [None, "", "  ", [], {}, [[]], {"Reasoning": []}, float("nan")])
def test_empty_fields_are_none(tmp_path, name, empty):
    edits = read(tmp_path, [{**MINIMAL[name], "attribute_prompts": empty}])
    assert not any("not used" in note for note in edits.notes)


def test_one_message_has_all_unknown_fields_and_the_missing_one(tmp_path):
    first = {"prompt": "P", "rephrase": "p", "neighbourhood": PROBES, "answer_old": "x"}
    with pytest.raises(UsageError) as caught:
        read(tmp_path, [{**first, "known_id": 1}, MINIMAL["own"]])
    said = str(caught.value)
    assert (
        "row 1: unknown fields 'rephrase' (did you mean rephrases?), 'neighbourhood' (did" in said
    )
    assert "(did you mean neighbours?), 'answer_old', and target is missing; the own format" in said
    assert "known_id" not in said
    assert "\n" not in said


def test_no_far_fetched_name_is_proposed(tmp_path):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, [{**MINIMAL["own"], "interests": "multiplication"}])
    assert "did you mean" not in str(caught.value)


def test_numbers_of_a_csv_are_metadata(tmp_path):
    path = tmp_path / "edits.csv"
    path.write_text("prompt,target,score\nP,new,0.5\n", encoding="utf-8")
    assert "score" in read_edits(str(path)).notes[0]
    path.write_text("prompt,target,score\nP,new,Where is P?\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: unknown field 'score'"):
        read_edits(str(path))


class Watched(dict):
    """Cells that remember which of them were looked at."""

    def __init__(self, cells: dict) -> None:
        super().__init__(cells)
        self.seen = set[str]()

    def __getitem__(self, name):
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.seen.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_says_what_the_reader_uses(name):
    cells = Watched(MINIMAL[name])
    FORMATS[name].read(Row(1, "row 1", cells))
    assert cells.seen == {field.partition(".")[0] for field in FORMATS[name].reads}
    assert not set(FORMATS[name].aside) & cells.seen
