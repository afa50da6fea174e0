"""A finished run in which something is damaged: named, the old page kept, the task run again."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import report_factory as factory

from locscope.errors import LocscopeError, UsageError
from locscope.locations import Location
from locscope.progress import Progress
from locscope.records import (
    ProtocolResults,
    Recipe,
    Recommendation,
    ScanResult,
    TrialRecord,
    dumps,
)
from locscope.runs.folder import open_run
from locscope.runs.info import MARKER, read_info, write_info
from locscope.runs.store import MOST, checksum, iterate, read_record, write_record
from locscope.workflows.report import load_run, report

PAGE = "<p>of the whole run</p>"
PATIENCE = 5.0
"""Seconds for a look at a damaged folder: one that waits for a pipe takes for ever."""
TRIAL = factory.trial("L6.mlp.down", split="all", rung="deployed", edits=factory.EDITS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with open_run(folder, factory.run().settings):
        for record in (TRIAL, *factory.sweep_trials()[:3]):
            write_record(folder, "trial", record.trial.id, record)
        panel = ProtocolResults(
            "recommended", Location.parse("L1.mlp"), Recipe(1e-3, 8), "x", 2, 0.5, ()
        )
        write_record(folder, "panel", "recommended", panel)
        write_record(folder, "scan", "gradient", factory.scan())
        write_record(folder, "scorecard", "final", factory.scorecard())
        write_record(folder, "recommendation", "final", factory.recommendation())
        write_info(folder, factory.run())
    (folder / "report.html").write_text(PAGE)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def envelope(path: Path, **changes: object) -> str:
    """The file with changes in its payload and a checksum that fits."""
    content = json.loads(path.read_text())
    content["payload"] |= changes
    content["checksum"] = checksum(content["payload"])
    return json.dumps(content)


def over(text: Callable[[Path], str | bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = text(path)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def linked_copy(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        # Holes: no byte of it is on the disk.
        file.truncate(MOST + 1)


def filled(path: Path) -> None:
    path.mkdir()
    (path / "x").write_text("x")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": over(lambda path: path.read_text()[: path.stat().st_size // 2]),
    "one byte short": over(lambda path: path.read_bytes()[:-1]),
    "one byte flipped": over(lambda path: path.read_bytes().replace(b"a", b"b", 1)),
    "empty": over(lambda _: b""),
    "zeros": over(lambda path: b"\0" * path.stat().st_size),
    "twice": over(lambda path: path.read_text() * 2),
    "not UTF-8": over(lambda path: path.read_bytes() + b"\xff"),
    "wrong checksum": over(
        lambda path: path.read_text().replace('"checksum": "', '"checksum": "0')
    ),
    "no checksum": over(lambda path: path.read_text().replace("checksum", "chequesum")),
    "another kind": over(lambda path: path.read_text().replace('"kind": "', '"kind": "x', 1)),
    "schema 0": over(lambda path: path.read_text().replace('"schema": 2', '"schema": 0', 1)),
    "schema true": over(lambda path: path.read_text().replace('"schema": 2', '"schema": true', 1)),
    "a list": over(lambda _: "[]"),
    "a number": over(lambda _: "1"),
    "null": over(lambda _: "null"),
    "NaN": over(lambda path: path.read_text().replace("0.", "NaN, 0.", 1)),
    "NaN for a number": over(lambda path: path.read_text().replace("null", "NaN", 1) + " NaN"),
    "a long number": over(lambda path: path.read_text().replace(": ", ": " + "9" * 5000, 1)),
    "deep": over(lambda _: '{"schema": 2, "payload": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep with a checksum": over(lambda path: envelope(path, x=json.loads("[" * 400 + "]" * 400))),
    "fields lost": over(
        lambda path: json.dumps(
            json.loads(path.read_text()) | {"payload": {}, "checksum": checksum({})}
        )
    ),
    "directory": instead(lambda path: path.mkdir()),
    "directory with files": instead(filled),
    "pipe": instead(os.mkfifo),
    "link to a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "link to itself": instead(lambda path: path.symlink_to(path.name)),
    "link to nothing": instead(lambda path: path.symlink_to("nothing")),
    "link out of the folder": linked_copy,
    "too large": huge,
    "missing": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("x.json")),
}
RECORDS = (
    f"trial-{TRIAL.trial.id}.json",
    *("scan-gradient.json", "panel-recommended.json"),
    *("scorecard-final.json", "recommendation-final.json"),
)


def refusal(folder: Path) -> str:
    """How `report` refuses the folder; it leaves the page that was there, and all records."""
    there, began = sorted(os.listdir(folder / "records")), time.monotonic()
    with pytest.raises(LocscopeError) as caught:
        report([folder])
    assert time.monotonic() - began < PATIENCE
    assert caught.value.exit_code == 1
    assert (folder / "report.html").read_text() == PAGE
    assert sorted(os.listdir(folder / "records")) == there
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("how", DAMAGES)
def test_a_report_names_what_is_damaged_and_keeps_the_page(folder: Path, how: str) -> None:
    for name in RECORDS:
        DAMAGES[how](folder / "records" / name)
    line = refusal(folder)
    assert f"{len(RECORDS)} of its records cannot be used: " in line
    assert [name for name in RECORDS if f"{name} (" not in line] == []


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_damaged_is_set_aside_by_name_and_its_task_runs_again(
    folder: Path, how: str
) -> None:
    for name in RECORDS:
        DAMAGES[how](folder / "records" / name)
    heard = Heard()
    trials = [record.trial.id for record in iterate(folder, "trial", TrialRecord, heard)]
    assert TRIAL.trial.id not in trials
    assert list(iterate(folder, "scan", ScanResult, heard)) == []
    assert read_record(folder, "panel", "recommended", ProtocolResults, heard) is None
    assert read_record(folder, "recommendation", "final", Recommendation, heard) is None
    gone = how in ("missing", "renamed")
    assert len(heard.lines) == (0 if gone else 4)
    assert [line for line in heard.lines if "is damaged (" not in line or "moved" not in line] == []
    # What is written anew is read.
    write_record(folder, "trial", TRIAL.trial.id, TRIAL)
    found = read_record(folder, "trial", TRIAL.trial.id, TrialRecord, heard)
    assert dumps(found) == dumps(TRIAL)


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, stage: str, total: int, share: float = 0.0) -> None: ...
    def advance(self, note: str = "") -> None: ...
    def finish(self, *, failed: bool = False) -> None: ...
    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_copy_and_a_stranger_are_told(folder: Path) -> None:
    records = folder / "records"
    shutil.copy(records / RECORDS[0], records / "trial-0.json")
    shutil.copy(records / "scan-gradient.json", records / "scan-probe.json")
    line = refusal(folder)
    assert f"trial-0.json (it is the record of {RECORDS[0]})" in line
    assert "scan-probe.json (it is the record of scan-gradient.json)" in line


@pytest.mark.parametrize("reason", ["damaged", "a list"])
def test_records_that_cannot_be_listed(folder: Path, reason: str) -> None:
    shutil.rmtree(folder / "records")
    if reason == "a list":
        (folder / "records").write_text("[]")
        with pytest.raises(UsageError, match=r"cannot read .*records: Not a directory"):
            report([folder])
        return
    # Nothing is left but run.json, which knows what there was.
    assert "8 of its records cannot be used: " in refusal_without_records(folder)


def refusal_without_records(folder: Path) -> str:
    with pytest.raises(LocscopeError) as caught:
        report([folder])
    assert (folder / "report.html").read_text() == PAGE
    return str(caught.value)


BY_HAND = over(lambda path: path.read_text().replace('"seed": 0', '"seed": 1'))
STRIPPED = over(
    lambda path: json.dumps(
        {key: value for key, value in json.loads(path.read_text()).items() if key != "checksum"}
    )
)
MARKERS = {
    **{
        how: damage
        for how, damage in DAMAGES.items()
        if not any(word in how for word in ("kind", "schema", "NaN", "with a", "short"))
    },
    "edited by hand": BY_HAND,
    "edited by hand, without its checksum": STRIPPED,
    "a key twice": over(lambda path: path.read_text().replace("{", '{"seed": 1,', 1)),
    "NaN": over(lambda path: path.read_text().replace("null", "NaN").replace("0.", "NaN, 0.", 1)),
    "schema true": over(lambda path: path.read_text().replace('_number": 1', '_number": true', 1)),
}


@pytest.mark.parametrize("how", MARKERS)
def test_run_json_is_written_again_from_its_record(folder: Path, how: str) -> None:
    sound = (folder / MARKER).read_text()
    MARKERS[how](folder / MARKER)
    began = time.monotonic()
    assert read_info(folder) == factory.run()
    assert load_run(folder).run == factory.run()
    said: list[str] = []
    with open_run(folder, factory.run().settings, say=said.append):
        assert [note for note in said if note.startswith("run.json: ")] != []
        assert "written again from records/run-info.json" in said[0]
    assert time.monotonic() - began < PATIENCE
    assert json.loads((folder / MARKER).read_text()) == json.loads(sound)
    said.clear()
    with open_run(folder, factory.run().settings, say=said.append):
        assert said == []


def test_run_json_without_its_record_cannot_be_written_again(folder: Path) -> None:
    (folder / "records" / "run-info.json").unlink()
    STRIPPED(folder / MARKER)
    # As an older program left it.
    assert load_run(folder).run == factory.run()
    BY_HAND(folder / MARKER)
    assert load_run(folder).run.seed == 1
    (folder / MARKER).write_text("{")
    with pytest.raises(UsageError, match=r"run.json is damaged .*or was not written by locscope"):
        report([folder])
    (folder / MARKER).unlink()
    with pytest.raises(UsageError, match=r"is not a run folder: it has no run.json"):
        report([folder])


def test_a_resumed_run_says_what_is_missing(folder: Path) -> None:
    (folder / "records" / RECORDS[0]).unlink()
    said: list[str] = []
    with open_run(folder, factory.run().settings, say=said.append):
        (note,) = said
    assert note.startswith(f"records that were there are missing (1: {RECORDS[0]})")


def test_a_search_without_its_recommendation_has_no_report(folder: Path) -> None:
    # Of an older program: nothing lists the records.
    marker = json.loads((folder / MARKER).read_text())
    del marker["records"], marker["checksum"]
    (folder / "records" / "run-info.json").unlink()
    (folder / MARKER).write_text(json.dumps(marker))
    (folder / "records" / RECORDS[0]).unlink()
    assert "trial-7ea1.json (missing)" in refusal(folder)
    (folder / "records" / "recommendation-final.json").unlink()
    assert "recommendation-final.json (missing)" in refusal(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything can be read")
def test_a_record_that_may_not_be_read(folder: Path) -> None:
    (folder / "records" / RECORDS[0]).chmod(0)
    assert f"{RECORDS[0]} (Permission denied)" in refusal(folder)
    with pytest.raises(UsageError, match="Permission denied"):
        list(iterate(folder, "trial", TrialRecord))
