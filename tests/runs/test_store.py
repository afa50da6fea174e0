import json
from pathlib import Path

import pytest
from samples import scan_result, trial_record

from locscope.errors import UsageError
from locscope.progress import Progress
from locscope.records import ScanResult, TrialRecord, dumps
from locscope.runs import store
from locscope.runs.store import iterate, read_record, record_path, write_record


class Listener(Progress):
    def __init__(self):
        self.lines = []

    def start(self, stage, total, share=0.0): ...
    def advance(self, note=""): ...
    def finish(self, *, failed=False): ...
    def say(self, line):
        self.lines.append(line)


def test_records_come_back_as_they_were(tmp_path):
    record = trial_record()
    path = write_record(tmp_path, "trial", record.trial.id, record)
    assert path == tmp_path / "records" / f"trial-{record.trial.id}.json"
    back = read_record(tmp_path, "trial", record.trial.id, TrialRecord)
    # As text, since NaN is not equal to itself.
    assert dumps(back) == dumps(record)
    envelope = json.loads(path.read_text())
    assert set(envelope) == {"schema", "kind", "checksum", "payload"}
    assert envelope["payload"]["flops"] is None


def test_absent_records(tmp_path):
    assert read_record(tmp_path, "trial", "none", TrialRecord) is None
    assert list(iterate(tmp_path, "trial", TrialRecord)) == []


def test_iterate_is_sorted_and_keeps_kinds_apart(tmp_path):
    for seed in range(4):
        write_record(tmp_path, "trial", f"t{3 - seed}", trial_record(seed=seed))
    write_record(tmp_path, "scan", "gradient", scan_result())
    assert [r.trial.seed for r in iterate(tmp_path, "trial", TrialRecord)] == [3, 2, 1, 0]
    assert [dumps(r) for r in iterate(tmp_path, "scan", ScanResult)] == [dumps(scan_result())]


def damage(path: Path, how: str) -> None:
    text = path.read_text()
    envelope = json.loads(text)
    payload = envelope["payload"]
    changed = {
        "truncated": text[: len(text) // 2],
        "empty": "",
        "no envelope": dumps(trial_record()),
        "a number changed": text.replace('"score": 0.75', '"score": 0.95'),
        "another kind": json.dumps({**envelope, "kind": "scan"}),
        "schema 0": json.dumps({**envelope, "schema": 0}),
        "a field lost": json.dumps(
            {**envelope, "payload": {}, "checksum": store.checksum({})},
        ),
        "binary": "\x00\ufffd",
    }[how]
    assert payload
    path.write_text(changed, encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "not JSON"),
        ("empty", "not JSON"),
        ("no envelope", "no schema number"),
        ("a number changed", "checksum"),
        ("another kind", "not a record of kind trial"),
        ("schema 0", "schema 0 is unknown"),
        ("a field lost", "its field 'trial'"),
        ("binary", "not JSON"),
    ],
)
def test_damaged_records_are_moved_aside_and_said(tmp_path, how, reason):
    listener = Listener()
    for _ in range(2):
        damage(write_record(tmp_path, "trial", "one", trial_record()), how)
        write_record(tmp_path, "trial", "two", trial_record(seed=2))
        found = list(iterate(tmp_path, "trial", TrialRecord, listener))
        assert [record.trial.seed for record in found] == [2]
    assert len(listener.lines) == 2
    assert "trial-one.json is damaged" in listener.lines[0]
    assert reason in listener.lines[0]
    aside = sorted(p.name for p in (tmp_path / "records" / "damaged").iterdir())
    assert aside == ["trial-one.2.json", "trial-one.json"]
    assert read_record(tmp_path, "trial", "one", TrialRecord) is None


def test_newer_records_are_refused_and_left_alone(tmp_path):
    path = write_record(tmp_path, "trial", "one", trial_record())
    path.write_text(json.dumps({"schema": 3, "body": "unheard of"}))
    with pytest.raises(UsageError, match=r"newer locscope \(schema 3, this one reads up to 2"):
        read_record(tmp_path, "trial", "one", TrialRecord)
    assert path.exists()


def test_older_records_are_upgraded_step_by_step(tmp_path, monkeypatch):
    write_record(tmp_path, "trial", "one", trial_record())
    monkeypatch.setattr(store, "SCHEMA", 4)
    monkeypatch.setitem(store.UPGRADES, 2, lambda kind, p: {**p, "status": kind})
    monkeypatch.setitem(store.UPGRADES, 3, lambda kind, p: {**p, "status": p["status"] + "!"})
    record = read_record(tmp_path, "trial", "one", TrialRecord)
    assert record is not None
    assert record.status == "trial!"


def test_a_trial_of_schema_1_is_read_with_the_names_of_today(tmp_path, monkeypatch):
    new = trial_record()
    payload = json.loads(dumps(new))
    payload["trial"]["glance"] = payload["trial"].pop("quick")
    old = {"schema": 1, "kind": "trial", "checksum": store.checksum(payload), "payload": payload}
    path = record_path(tmp_path, "trial", "old")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old))
    found = read_record(tmp_path, "trial", "old", TrialRecord)
    assert found is not None
    assert dumps(found) == dumps(new)


@pytest.mark.parametrize(
    ("kind", "id"), [("Trial", "x"), ("trial", "a/b"), ("trial", ".."), ("a-b", "x"), ("trial", "")]
)
def test_names_that_are_no_file_names(tmp_path, kind, id):
    with pytest.raises(ValueError, match="do not make the name"):
        record_path(tmp_path, kind, id)
