import gc
import json
from pathlib import Path

import pytest
from formats import MINIMAL, TARGETS

import locscope.edits
from locscope.edits import FORMATS, narrowed, read_edits
from locscope.errors import UsageError
from locscope.records import Edit, Probe

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def write(folder: Path, content, name: str = "edits.json") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def published(name: str) -> str:
    path = DATA / name
    if not path.exists():
        pytest.skip("no shared data here")
    return str(path)


def test_zsre_as_published():
    edits = read_edits(published("zsre_3k.json"))
    assert (edits.format, edits.name, edits.total, len(edits.edits)) == (
        "zsre",
        "zsre_3k",
        3000,
        3000,
    )
    assert edits.edits[0] == Edit(
        id="zsre-1",
        prompt="Which river system contains Charity Creek?",
        target="Chichester River",
        subject="Charity Creek",
        old="Parramatta River",
        rephrases=("What river system is Charity Creek in?",),
        neighbours=(Probe("nq question: how many series of diary of a wimpy kid are there", "12"),),
    )
    # 67 targets of this file have spaces around them.
    assert all(edit.target == edit.target.strip() for edit in edits.edits)


def test_counterfact_as_published():
    edits = read_edits(published("counterfact_3k.json"))
    assert (edits.format, len({edit.id for edit in edits.edits})) == ("counterfact", 3000)
    first = edits.edits[0]
    assert (first.id, first.prompt, first.target, first.old) == (
        "1884",
        "Reedy Glacier is in",
        "Asia",
        "Antarctica",
    )
    assert first.neighbours == (Probe("Mount Erebus, in", "Antarctica"),)


def test_wikibigedit_as_published():
    edits = read_edits(published("wikibigedit_3k.json"))
    assert (edits.format, edits.edits[2999].id) == ("wikibigedit", "wikibigedit-3000")
    assert all(edit.old == "" and edit.rephrases and edit.neighbours for edit in edits.edits)


def test_limit_is_a_seeded_sample_in_file_order():
    source = published("counterfact_3k.json")
    everything = [edit.id for edit in read_edits(source).edits]
    one, again, other = (read_edits(source, limit=100, seed=seed) for seed in (1, 1, 2))
    positions = [everything.index(edit.id) for edit in one.edits]
    assert positions == sorted(positions)
    assert len(positions) == 100
    assert one == again
    assert one.fingerprint != other.fingerprint
    assert "100 of 3000 rows" in one.notes[0]
    assert read_edits(source, limit=5000).edits == read_edits(source).edits


def test_limit_must_leave_something(tmp_path):
    with pytest.raises(UsageError, match="limit 0"):
        read_edits(write(tmp_path, [MINIMAL["own"]]), limit=0)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_its_minimal_row_and_is_recognised(tmp_path, name):
    edits = read_edits(write(tmp_path, [MINIMAL[name]]))
    assert (edits.format, edits.edits[0].target, edits.edits[0].id) == (name, "new", f"{name}-1")


def test_one_row_of_many_does_not_decide_the_format(tmp_path):
    own = [{**MINIMAL["own"], "prompt": f"P{i}"} for i in range(4)]
    with pytest.raises(UsageError, match="row 5: unknown field 'target_new'"):
        read_edits(write(tmp_path, [*own, {**MINIMAL["own"], "target_new": "x"}]))
    bare = {"prompt": "P", "target_new": "x"}
    edits = read_edits(write(tmp_path, [bare, MINIMAL["counterfact"]]))
    assert (edits.format, edits.edits[1].old) == ("counterfact", "old")


def with_cell(cells: dict, path: str, value) -> dict:
    """A copy with another value at `field` or `field.key`, or without it."""
    name, _, key = path.partition(".")
    if key:
        return {**cells, name: with_cell(cells[name], key, value)}
    return {
        **{k: v for k, v in cells.items() if k != name},
        **({} if value == "missing" else {name: value}),
    }


LISTS = {"zsre-decao", "cknowedit", "knowedit", "wikibio", "qaedit", "sanitation"}
"""Formats whose target may be a list of accepted answers."""


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("value", ["", "  ", None, 7, ["x"], "missing"])
def test_every_format_names_row_and_field_of_a_bad_target(tmp_path, name, value):
    """Strict ones refuse it; of a published set such a row is left out and counted."""
    path = TARGETS[name]
    bad = with_cell(MINIMAL[name], path, value)
    field = path.rpartition(".")[2]
    rows = [MINIMAL[name], bad]
    if FORMATS[name].strict:
        with pytest.raises(UsageError, match=rf"row 2: field '{field}' is"):
            read_edits(write(tmp_path, rows))
    elif value == ["x"] and name in LISTS:
        assert read_edits(write(tmp_path, rows)).edits[1].target == "x"
    else:
        edits = read_edits(write(tmp_path, rows))
        assert (len(edits.edits), edits.total) == (1, 2)
        (note,) = (note for note in edits.notes if "cannot be used" in note)
        assert "left out, rows that cannot be used: 1; " in note
        assert note.endswith("(row 2)")
        assert f"field '{field}' is" in note or "field 'str' is" in note


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    good, bad = MINIMAL["zsre"], {"src": "Q?", "alt": ""}
    rows = [good, bad, good, {"src": "Q?", "alt": 3}, good, bad, *[good] * 9, *[bad] * 5]
    edits = read_edits(write(tmp_path, rows))
    assert (len(edits.edits), edits.total) == (12, 20)
    (note,) = (note for note in edits.notes if "cannot be used" in note)
    assert note == (
        "left out, rows that cannot be used: 8; field 'alt' is empty; every edit needs it "
        "(row 2, 6, 16, 17, 18 and 2 more); field 'alt' is a number, not a text; put it in quotes "
        "(row 4)"
    )
    with pytest.raises(UsageError, match="row 1: read as zsre, rows that cannot be used: 2"):
        read_edits(write(tmp_path, [good, bad, bad]))


def test_own_format_in_full(tmp_path):
    row = {
        "id": 7,
        "prompt": "The capital of France is",
        "target": "Rome",
        "subject": "France",
        "old": "Paris",
        "rephrases": "France's capital is",
        "neighbours": ["The capital of Spain is", {"prompt": "Oslo is in", "answer": "Norway"}],
        "forms": [{"kind": "question", "prompt": "Capital of France?", "answer": "Rome"}],
        "multihop": [{"prompt": "The river of France's capital is", "answer": "the Tiber"}],
    }
    assert read_edits(write(tmp_path, [row])).edits[0] == Edit(
        id="7",
        prompt="The capital of France is",
        target="Rome",
        subject="France",
        old="Paris",
        rephrases=("France's capital is",),
        neighbours=(Probe("The capital of Spain is"), Probe("Oslo is in", "Norway")),
        forms=(Probe("Capital of France?", "Rome", "question"),),
        multihop=(Probe("The river of France's capital is", "the Tiber"),),
    )


def test_csv_with_lists_and_a_byte_order_mark(tmp_path):
    text = (
        "﻿prompt,target,rephrases,neighbours,forms\n"
        '"a, b",x,one|two,N is=>M|K is,question=>Q?=>x\n'
        '\n"over\ntwo lines",y,,,\n'
    )
    first, second = read_edits(write(tmp_path, text, "edits.csv")).edits
    assert (first.prompt, first.rephrases) == ("a, b", ("one", "two"))
    assert first.neighbours == (Probe("N is", "M"), Probe("K is"))
    assert first.forms == (Probe("Q?", "x", "question"),)
    assert (second.id, second.prompt, second.rephrases) == ("own-4", "over\ntwo lines", ())


def test_jsonl_counts_lines_and_skips_blank_ones(tmp_path):
    lines = [json.dumps(MINIMAL["own"]), "", json.dumps({**MINIMAL["own"], "target": ""})]
    with pytest.raises(UsageError, match="line 3: field 'target' is empty"):
        read_edits(write(tmp_path, "\n".join(lines), "edits.jsonl"))
    assert len(read_edits(write(tmp_path, lines[0] + "\n\n", "edits.jsonl")).edits) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rephrase": "x"}, "row 2: unknown field 'rephrase': did you mean rephrases"),
        ({"rephrases": [1]}, "row 2: field 'rephrases' is a number"),
        ({"rephrases": {"a": 1}}, "row 2: field 'rephrases' is an object, not a list"),
        ({"rephrases": [""]}, "row 2: field 'rephrases' has an empty entry"),
        ({"neighbours": [{"promt": "x"}]}, "key in 'neighbours' 'promt': did you mean prompt"),
        ({"neighbours": [3]}, "row 2: field 'neighbours' has an entry that is a number"),
        ({"neighbours": [{"answer": "x"}]}, "'neighbours' has an entry without 'prompt'"),
        ({"multihop": ["x"]}, "'multihop' has an entry without 'answer'"),
        ({"forms": [{"kind": "question", "prompt": "", "answer": "x"}]}, "an empty 'prompt'"),
        ({"forms": ["x"]}, "'forms' has an entry without 'kind'"),
        ({"id": "1"}, "row 2: field 'id' is '1', as in .* row 1"),
        ({"id": True}, "field 'id' is true or false"),
        ({"subject": "\ud800"}, "half a surrogate"),
    ],
)
def test_own_format_refuses(tmp_path, change, message):
    rows = [{**MINIMAL["own"], "id": "1"}, {**MINIMAL["own"], **change}]
    with pytest.raises(UsageError, match=message):
        read_edits(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "", "is empty"),
        ("a.json", "[]", "has no rows"),
        ("a.json", "{oops", "not JSON"),
        ("a.json", '"x"', "found a text; write one list of objects"),
        ("a.json", '{"prompt": "x"}\n{"prompt" "y"}', "line 2: not JSON"),
        ("a.json", '{"a": [{"prompt": "x"}], "b": [{"prompt": "y"}]}', "several lists .*'a', 'b'"),
        ("a.json", '{"prompts": ["x", "y"], "target_new": ["z"]}', "'target_new' has 1 entries"),
        ("a.json", '["x"]', "row 1: an edit is an object"),
        ("a.json", '[{"question": "x"}]', "row 1: no known layout has these fields"),
        ("a.json", '[{"target": "x"}]', "row 1: no .* the nearest, own, needs 'prompt'; name"),
        ("a.json", '[{"target": "x", "q": 1}]', "needs 'prompt' and does not read q; name"),
        ("a.json", '[{"Text": "x"}]', r"has these fields \(Text\), nor any of them"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.jsonl", '{"prompt"', "line 1: not JSON"),
        ("a.csv", "prompt,prompt\nx,y", "line 1: the header"),
        ("a.csv", "prompt,target\nx,y,z", "line 2: 3 cells under 2 columns"),
        ("a.csv", "prompt,target\nx,y\nx", "line 3: field 'target' is missing"),
        ("a.csv", "prompt,target\nx,", "line 2: field 'target' is empty"),
        ("a.csv", 'prompt,target\n"x', "not CSV"),
        ("a.csv", "prompt,target\n", "has no rows"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_edits(write(tmp_path, text, name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_sources_that_are_no_text_files(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for source, message in [
        (tmp_path, "is a directory"),
        (tmp_path / "none.json", "no edits file"),
        (tmp_path / "binary.json", "not UTF-16 text"),
    ]:
        with pytest.raises(UsageError, match=message):
            read_edits(str(source))


def test_ids_are_unique_also_where_the_file_repeats_them(tmp_path):
    rows = [{**MINIMAL["counterfact"], "case_id": case} for case in (5, 5, 6)]
    assert [e.id for e in read_edits(write(tmp_path, rows)).edits] == ["5", "5.2", "6"]
    rows = [MINIMAL["own"], {**MINIMAL["own"], "id": "own-1"}]
    assert [e.id for e in read_edits(write(tmp_path, rows)).edits] == ["own-1.2", "own-1"]


def test_demo_is_read_where_it_is_packaged():
    if not (Path(locscope.edits.__file__).parent / "demo.json").exists():
        pytest.skip("the bundled edits are not made yet")
    edits = read_edits("demo")
    assert (edits.name, edits.format) == ("demo", "own")


def test_narrowed_is_hashed_anew(tmp_path):
    rows = [{**MINIMAL["own"], "prompt": str(i)} for i in range(3)]
    edits = read_edits(write(tmp_path, rows))
    fewer = narrowed(edits, edits.edits[:2], "one left out")
    assert fewer.fingerprint != edits.fingerprint
    assert (len(fewer.edits), fewer.notes[-1], fewer.total) == (2, "one left out", 3)
    assert narrowed(fewer, edits.edits).fingerprint == edits.fingerprint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.json", '[{"prompt": "a", "prompt": "b", "target": "c"}]'),
        ("e.jsonl", '{"prompt": "a", "prompt": "b", "target": "c"}\n'),
        ("e.json", '[{"prompt": "p", "target": "c", "forms": [{"prompt": "a", "prompt": "b"}]}]'),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=r"key 'prompt' is there twice, as 'a' and 'b': leave one"):
        read_edits(str(tmp_path / name))


def test_a_name_that_no_file_can_have():
    with pytest.raises(UsageError, match="File name too long"):
        read_edits("x" * 300)


def test_the_collector_goes_on_whatever_is_read(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text('{"prompt": "a", "target": "b"}\n', encoding="utf-8")
    read_edits(str(path))
    assert gc.isenabled()
    with pytest.raises(UsageError):
        read_edits(str(tmp_path / "nothing.jsonl"))
    assert gc.isenabled()
