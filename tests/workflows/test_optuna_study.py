"""A run as an Optuna study: read back with Optuna, beside the records."""

import sys
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import UsageError
from locscope.integrations.optuna_study import write_study
from locscope.locations import Location
from locscope.records import Measure, Recipe, Trial, TrialRecord
from locscope.workflows.publish import Found


def record(location: str, lr: float, score: float, rung: str = "sweep") -> TrialRecord:
    trial = Trial(Location.parse(location), Recipe(lr, 8), ("a", "b"), "S", rung, 3, "m", "e")
    measures = (Measure("reliability", 0.5, 2, "x"), Measure("locality", nan, 0, "not measured"))
    costs = {"change_norm": 0.1, "decoded": 0, "seconds": 1.5, "flops": nan}
    return TrialRecord(trial, "done", score, "harmonic", measures, (), (), ("w",), 64, **costs)


RECORDS = (
    record("L2.mlp.down", 1e-4, 0.25),
    record("L2.mlp.down", 3e-4, 0.75, "rates"),
    record("L0.attn.h3", 1e-3, 0.5),
    record("L1-2.mlp+L4.attn", 1e-5, nan),
    replace(record("L3.block", 2e-5, nan), status="collapsed"),
)


def read(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="locscope", storage=f"sqlite:///{path}")


def test_every_trial_is_there_with_its_values(tmp_path: Path) -> None:
    path = tmp_path / "new" / "study.db"
    assert write_study(RECORDS, path) == len(RECORDS)
    study = read(path)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    for found, wanted in zip(study.trials, RECORDS, strict=True):
        assert found.params["location"] == str(wanted.trial.location)
        assert found.params["lr"] == wanted.trial.recipe.lr
        assert found.user_attrs["rung"] == wanted.trial.rung
        assert found.user_attrs["id"] == wanted.trial.id
        assert found.user_attrs["reliability"] == 0.5
        assert "locality" not in found.user_attrs
        assert found.value == (None if isnan(wanted.score) else wanted.score)
    locations = [(t.params["layer"], t.params["part"]) for t in study.trials]
    assert locations == [
        (2, "mlp.down"),
        (2, "mlp.down"),
        (0, "attn.h3"),
        (-1, "mlp+attn"),
        (3, "block"),
    ]
    assert study.best_value == 0.75
    assert [path.name for path in path.parent.iterdir()] == ["study.db"]


def test_a_trial_without_a_score_has_failed(tmp_path: Path) -> None:
    write_study(RECORDS, tmp_path / "study.db")
    states = [trial.state for trial in read(tmp_path / "study.db").trials]
    assert states == [optuna.trial.TrialState.COMPLETE] * 3 + [optuna.trial.TrialState.FAIL] * 2


def test_a_study_without_trials(tmp_path: Path) -> None:
    assert write_study((), tmp_path / "study.db") == 0
    assert read(tmp_path / "study.db").trials == []


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_study(RECORDS, path)
    assert path.read_text() == "mine"


def test_without_optuna_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'locscope\[optuna\]'"):
        write_study(RECORDS, tmp_path / "study.db")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_study_of_a_run(found: Found, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    result = CliRunner().invoke(app, ["report", str(found.folder), "--optuna", str(path)])
    assert result.exit_code == 0, result.output
    trials = read(path).trials
    assert len(trials) == len(found.inputs.trials)
    by_id = {one.trial.id: one for one in found.inputs.trials}
    for trial in trials:
        own = by_id[trial.user_attrs["id"]]
        assert trial.value == (None if isnan(own.score) else own.score)
    again = CliRunner().invoke(app, ["report", str(found.folder), "--optuna", str(path)])
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_several_runs_make_no_study(found: Found, tmp_path: Path) -> None:
    run, path = str(found.folder), tmp_path / "study.db"
    result = CliRunner().invoke(app, ["report", run, run, "--optuna", str(path)])
    assert result.exit_code == 2
    assert "one run" in result.stderr
    assert not path.exists()
