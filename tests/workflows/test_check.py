"""`check` accepts what `edit` accepts, and says what a search needs besides."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.edits import read_edits
from locscope.errors import UsageError
from locscope.settings import SearchSettings
from locscope.workflows import check as checking
from locscope.workflows.check import CheckResult, check
from locscope.workflows.early import edits as early
from locscope.workflows.early import precheck
from locscope.workflows.search.run import Found

ROWS = [{"prompt": f"a{i} is", "target": "b", "subject": f"s{i}"} for i in range(80)]


def checked(model: Path, folder: Path, rows: list[dict], **more) -> CheckResult:
    path = folder / "edits.json"
    path.write_text(json.dumps(rows))
    return check(SearchSettings(model=str(model), edits=str(path), **more))


def line(found: CheckResult, name: str) -> str:
    return next(one.value for one in found.lines if one.name == name)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS[:1], "a search needs at least 10 edits"),
        (ROWS[:9], "there are 9: add edits, or tune all of them at a location of your choice"),
        ([{**row, "subject": "s"} for row in ROWS[:20]], "a search needs edits that it can split"),
    ],
)
def test_what_an_edit_can_use_is_usable_though_no_search_would_start(
    tiny_dir: Path, tmp_path: Path, rows: list[dict], words: str
) -> None:
    found = checked(tiny_dir, tmp_path, rows)
    assert (found.usable, found.ready) == (True, False)
    assert words in line(found, "search")
    assert "edit --location L" in line(found, "edit")
    given = ["check", "--model", str(tiny_dir), "--edits", str(tmp_path / "edits.json")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output


def test_edits_are_read_once(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may come over a network."""
    read = []

    def counted(*args, **more):
        read.append(args)
        return read_edits(*args, **more)

    for module in (checking, early):
        monkeypatch.setattr(module, "read_edits", counted)
    assert checked(tiny_dir, tmp_path, ROWS).ready
    assert len(read) == 1
    monkeypatch.setattr(precheck, "read_edits", counted)
    given = ["--model", str(tiny_dir), "--edits", str(tmp_path / "edits.json")]
    assert CliRunner().invoke(app, ["check", *given, "--conflicts", "last"]).exit_code == 0
    assert len(read) == 2, "nor does the command read them again"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("adapter_config.json", "{}", "an adapter beside whole weights"),
        ("config.json", "[]", "config.json"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line_and_exit_code_2(
    tiny_dir: Path, tmp_path: Path, file: str, content: str, words: str
) -> None:
    model, edits = tmp_path / "model", tmp_path / "edits.json"
    shutil.copytree(tiny_dir, model)
    (model / file).write_text(content)
    edits.write_text(json.dumps(ROWS))
    result = CliRunner().invoke(app, ["check", "--model", str(model), "--edits", str(edits)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_text_that_the_model_cannot_read_is_refused(tiny_dir: Path, tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "prompt": "a" * 2000}]
    with pytest.raises(UsageError, match=r"edit .* tokens with its answer, and the model reads"):
        checked(tiny_dir, tmp_path, rows)


def test_few_edits_are_told_what_a_search_can_conclude(tiny_dir: Path, tmp_path: Path) -> None:
    found = checked(tiny_dir, tmp_path, ROWS[:40])
    assert found.ready
    assert "would start; with 40 edits the split leaves" in line(found, "search")
    assert "below about 0.29 cannot be told apart" in line(found, "search")
    assert line(checked(tiny_dir, tmp_path, ROWS), "search") == "would start"


def test_work_is_told_of_a_race_and_of_a_sweep(settings: SearchSettings, found: Found) -> None:
    """Beside what the trials of a search took, which here go through all their epochs."""
    work = line(check(settings), "work")
    race, short, sweep = re.findall(
        r"about (\S+) operations, [\d.]+ \w+ on \w+, with a ([^;(]+)", work
    )
    assert [name.strip() for _, name in (race, short, sweep)] == [
        "race", "race and --no-thorough", "sweep",
    ]  # fmt: skip
    assert float(short[0]) < float(race[0])
    full = [one for one in found.inputs.trials if one.trial.recipe.kind == "full"]
    assert 1 / 3 < float(race[0]) / sum(one.flops for one in full) < 3
    # The same search without thoroughness is not told twice.
    plain = line(check(settings.model_copy(update={"thorough": False})), "work")
    assert "--no-thorough" not in plain
    assert f"about {short[0]} operations" in plain


def test_conflicts_stop_both_until_they_are_settled(tiny_dir: Path, tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "target": "c"}]
    found = checked(tiny_dir, tmp_path, rows)
    assert (found.usable, found.ready) == (False, False)
    for name in ("edit", "search"):
        assert "needs one target for each prompt: choose --conflicts" in line(found, name)
    settled = checked(tiny_dir, tmp_path, rows, conflicts="last")
    assert (settled.usable, settled.ready) == (True, True)
    assert "resolved: last" in line(settled, "conflicts")


def test_neighbours_that_are_edited_themselves_are_said(tiny_dir: Path, tmp_path: Path) -> None:
    rows = [{**ROWS[0], "neighbours": ["a1 is", "z is"]}, *ROWS[1:]]
    notes = [one.value for one in checked(tiny_dir, tmp_path, rows).lines if one.name == "note"]
    assert "neighbours left out, edited themselves: 1" in notes
