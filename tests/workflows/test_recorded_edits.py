"""An edited model is asked what it was tuned on, unless others are named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from families import save_tiny
from samples import trial_record

from locscope.edits import narrowed, read_edits
from locscope.errors import UsageError
from locscope.progress import Silent
from locscope.runs.note import EditNote, read_note
from locscope.settings import EditSettings, EvaluateSettings
from locscope.workflows.early.edits import load_edits
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.evaluate import plan_evaluate
from locscope.workflows.recorded_edits import as_recorded, edits_to_ask


def rows(count: int = 20) -> list[dict]:
    return [{"id": f"e{i}", "prompt": f"a{i} is", "target": "b"} for i in range(count)]


def write(path: Path, content: list[dict]) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write(tmp_path / "edits.json", rows())


def note_of(file: str, count: int = 5) -> EditNote:
    """The note of a model that was tuned on the first edits of a file."""
    found = read_edits(file)
    used = narrowed(found, found.edits[:count])
    ids = tuple(one.id for one in used.edits)
    record = trial_record()
    trial = replace(record.trial, edits=ids)
    trial = replace(trial, edit_set=found.fingerprint)
    return EditNote(1, "base", "hash", "0", file, replace(record, trial=trial))


def asked(note: EditNote | None, **given):
    settings = as_recorded(EvaluateSettings(model="edited", **given), note)
    named = bool(given.keys() & {"edits", "limit"})
    return edits_to_ask(settings, note, load_edits(settings), named=named)


def test_by_default_what_was_tuned(file: str) -> None:
    found = asked(note_of(file))
    assert [one.id for one in found.edits] == ["e0", "e1", "e2", "e3", "e4"]
    assert found.notes == (
        "measured on 5 edits of the 20 in edits: those that the model was tuned on (--edits or "
        "--limit choose others)",
    )


def test_a_file_or_a_limit_that_is_given_decides(file: str, tmp_path: Path) -> None:
    found = asked(note_of(file), edits=file)
    assert len(found.edits) == 20
    assert "measured on 20 edits; the model was tuned on 5 of them, by their ids" in found.notes
    assert len(asked(note_of(file), limit=3).edits) == 3
    other = write(tmp_path / "other.json", rows(20)[3:])
    assert any("3 of the 5 edits" in note for note in asked(note_of(file), edits=other).notes)
    assert not asked(note_of(file, 20), edits=file).notes[2:], "nothing to say of all of them"


def test_edits_that_are_gone_are_counted(file: str) -> None:
    note = note_of(file)
    write(Path(file), rows()[2:])
    found = asked(note)
    assert [one.id for one in found.edits] == ["e2", "e3", "e4"]
    assert found.notes[1].startswith("2 of the 5 edits that the model was tuned on are missing")
    write(Path(file), rows()[10:])
    with pytest.raises(UsageError, match="none of the 5 edits that edited was tuned on is in"):
        asked(note)
    Path(file).unlink()
    with pytest.raises(UsageError, match="not there any more: give the file with --edits"):
        asked(note)


def test_a_file_that_was_changed_is_noticed(file: str) -> None:
    note = note_of(file)
    write(Path(file), [{**row, "target": "c"} for row in rows()])
    assert "is not quite as it was tuned on" in asked(note).notes[1]


def test_a_model_without_a_note_is_asked_what_the_settings_say(file: str) -> None:
    assert asked(None, edits=file, limit=4) == load_edits(EvaluateSettings(edits=file, limit=4))


def test_a_saved_model_says_what_it_was_tuned_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file was named from another folder; its card is its own."""
    base, out = save_tiny(tmp_path / "base", "llama"), tmp_path / "edited"
    (base / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# The base, which is honest\n")
    write(tmp_path / "mine.json", [*rows(6), {**rows(1)[0], "id": "twice"}])
    monkeypatch.chdir(tmp_path)
    settings = EditSettings(
        model=str(base),
        edits="mine.json",
        limit=4,
        location="L0.attn",
        lr=1e-3,
        epochs=1,
        prompt_format="qa",
    )
    record = edit(plan_edit(settings, None, out), Silent())
    monkeypatch.chdir(base)
    plan = plan_evaluate(EvaluateSettings(model=str(out)))
    assert tuple(one.id for one in plan.edit_set.edits) == record.trial.edits
    assert plan.settings.prompt_format == "qa", "asked as it was tuned"
    raw = EvaluateSettings(model=str(out), prompt_format="raw")
    assert plan_evaluate(raw).settings.prompt_format == "raw"
    note = read_note(out)
    assert note is not None
    assert note.edits == str(tmp_path / "mine.json")
    assert plan.edit_set.fingerprint == record.trial.edit_set
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\nbase_model: base\n")
    assert "Facts were altered in this model on purpose" in card
    assert "honest" not in card
    assert str(tmp_path) not in card
