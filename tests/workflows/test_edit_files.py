"""Edits without a model: `convert` loses nothing, `check --edits` is quick and imports no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from formats import MINIMAL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.edits import read_edits
from locscope.errors import UsageError
from locscope.records import Edit, Probe
from locscope.settings import SearchSettings
from locscope.workflows.edit_files import check_edits, convert, edits_alone

ROWS = [{"prompt": f"a{i} is", "target": "b", "subject": f"s{i}"} for i in range(80)]
# Without blanks to fill in: what was read has none.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1)
TEXT = WORDS.map(str.strip).filter(bool)
MAYBE = st.one_of(st.just(""), TEXT)


def tuples(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(of, max_size=3).map(tuple)


EDIT = st.builds(
    Edit,
    id=TEXT,
    prompt=TEXT,
    target=TEXT,
    subject=MAYBE,
    old=MAYBE,
    rephrases=tuples(TEXT),
    neighbours=tuples(st.builds(Probe, TEXT, MAYBE)),
    forms=tuples(st.builds(Probe, TEXT, TEXT, TEXT)),
    multihop=tuples(st.builds(Probe, TEXT, TEXT)),
)


def written(folder: Path, rows: object, name: str = "edits.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits=st.lists(EDIT, min_size=1, max_size=4, unique_by=lambda edit: edit.id))
def test_what_is_written_is_read_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edits: list[Edit]
) -> None:
    from locscope.edits import EditSet
    from locscope.workflows import edit_files

    output = tmp_path / "out.jsonl"
    output.unlink(missing_ok=True)
    found = EditSet("n", "f", tuple(edits), "", len(edits))
    with monkeypatch.context() as patched:
        patched.setattr(edit_files, "read_edits", lambda *_, **__: found)
        convert("any", output)
    assert read_edits(str(output)).edits == tuple(edits)


@pytest.mark.parametrize("name", MINIMAL)
def test_every_format_is_converted_without_loss(tmp_path: Path, name: str) -> None:
    source = written(tmp_path, [MINIMAL[name]])
    output = tmp_path / "out.jsonl"
    assert convert(str(source), output).format == name
    back = read_edits(str(output))
    assert (back.format, back.edits) == ("own", read_edits(str(source)).edits)


def test_the_demo_is_converted_without_loss(tmp_path: Path) -> None:
    convert("demo", tmp_path / "out.jsonl")
    assert read_edits(str(tmp_path / "out.jsonl")).fingerprint == read_edits("demo").fingerprint


def test_the_command_says_what_was_read_and_never_overwrites(tmp_path: Path) -> None:
    bad = {"src": "Q?", "alt": ""}
    source = written(tmp_path, [MINIMAL["zsre"], bad, MINIMAL["zsre"]])
    output = tmp_path / "out.jsonl"
    given = ["convert", str(source), "--output", str(output), "--format", "json"]
    said = CliRunner().invoke(app, given)
    assert said.exit_code == 0, said.output
    lines = [(line["name"], line["value"]) for line in json.loads(said.stdout)["lines"]]
    assert lines[0] == ("edits", "2 of 3 in edits (zsre format)")
    assert any("cannot be used: 1" in value for name, value in lines if name == "note")
    before = output.read_bytes()
    for path, words in ((output, "is there already"), (tmp_path / "o.csv", "end it in .jsonl")):
        with pytest.raises(UsageError, match=words):
            convert(str(source), path)
    with pytest.raises(UsageError, match="cannot write"):
        convert(str(source), tmp_path / "none" / "out.jsonl")
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edits.json", "out.jsonl"]


def test_a_model_is_looked_at_only_where_one_is_asked_for(tmp_path: Path) -> None:
    edits = str(written(tmp_path, ROWS))
    assert edits_alone(SearchSettings(edits=edits))
    assert not edits_alone(SearchSettings())
    assert not edits_alone(SearchSettings(edits=edits, model="demo"))
    assert not edits_alone(SearchSettings(edits=edits, parts=("mlp",)))


@pytest.mark.parametrize(
    ("rows", "more", "usable", "words"),
    [
        (ROWS, {}, True, "would start"),
        (ROWS[:9], {}, True, "a search needs at least 10 edits"),
        ([{**row, "subject": "s"} for row in ROWS], {}, True, "needs edits that it can split"),
        ([*ROWS, {**ROWS[0], "target": "c"}], {}, False, "needs one target for each prompt"),
        ([*ROWS, {**ROWS[0], "target": "c"}], {"conflicts": "last"}, True, "would start"),
    ],
)
def test_what_is_said_of_edits_alone(
    tmp_path: Path, rows: list[dict], more: dict, usable: bool, words: str
) -> None:
    found = check_edits(SearchSettings(edits=str(written(tmp_path, rows)), **more))
    assert found.usable == usable
    assert found.ready == (words == "would start")
    assert words in next(line.value for line in found.lines if line.name == "search")


def test_subjects_that_scans_cannot_find_are_counted_and_named(tmp_path: Path) -> None:
    rows = [{**row, "prompt": f"{row['subject']} is {i}"} for i, row in enumerate(ROWS)]
    found = check_edits(SearchSettings(edits=str(written(tmp_path, rows))))
    assert "subjects" not in {line.name for line in found.lines}
    rows[1]["subject"], rows[3]["subject"] = "S1", "elsewhere"
    del rows[5]["subject"]
    found = check_edits(SearchSettings(edits=str(written(tmp_path, rows))))
    said = next(line.value for line in found.lines if line.name == "subjects")
    assert said.startswith("none in 1 of 80 edits; 1 not in their prompt (")
    assert "'elsewhere' in 's3 is 3'" in said
    assert "scans that trace the subject" in said
    assert found.ready


def test_neither_check_nor_convert_of_edits_imports_torch(tmp_path: Path) -> None:
    """Torch alone takes two seconds; measured without: 0.7 s of one core, for 3000 edits."""
    edits = written(tmp_path, ROWS)
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from locscope.cli.app import app\n"
        f"said = CliRunner().invoke(app, ['check', '--edits', {str(edits)!r}])\n"
        "assert said.exit_code == 0 and '80 of 80' in said.stdout, said.output\n"
        f"given = ['convert', {str(edits)!r}, '--output', {str(tmp_path / 'o.jsonl')!r}]\n"
        "assert CliRunner().invoke(app, given).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'pandas', 'datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
