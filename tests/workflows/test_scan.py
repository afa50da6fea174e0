"""`locscope scan` on a tiny model: what it writes, that more can be added, what it refuses."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import UsageError
from locscope.progress import Progress, Silent
from locscope.records import ScanResult
from locscope.runs.info import read_info
from locscope.runs.store import iterate
from locscope.scans import SCANS, is_cheap
from locscope.scans.context import ScanContext
from locscope.settings import ScanSettings, settings_of
from locscope.workflows import scan as verb
from locscope.workflows.scan import plan_scan, scan

SOME = ("weight-gradient", "causal-tracing", "random")


@pytest.fixture(scope="module")
def scanned(tiny_dir, edits_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans") / "run"
    settings = ScanSettings(
        model=str(tiny_dir), edits=str(edits_file), scans=SOME, samples=2, requests=6
    )
    return scan(plan_scan(settings, folder, Silent()), Silent())


def results(folder: Path) -> dict[str, ScanResult]:
    return {one.descriptor.name: one for one in iterate(folder, "scan", ScanResult)}


def run(*arguments: object):
    return CliRunner().invoke(app, ["scan", *map(str, arguments)])


def test_writes_records_tables_figures_and_a_page(scanned) -> None:
    assert set(results(scanned.folder)) == set(SOME)
    table = pd.read_parquet(scanned.folder / "scans.parquet")
    assert set(table["scan"]) == set(SOME)
    assert {"last", "last subject"} <= set(table["role"])
    assert "Causal tracing" in (scanned.folder / "report.html").read_text()
    assert list((scanned.folder / "figures").glob("*causal-tracing*"))
    info = read_info(scanned.folder)
    assert info is not None
    assert info.verb == "scan"
    assert {stage.stage for stage in info.stages} == {f"scan {name}" for name in SOME}
    assert not (scanned.folder / "recommendation.yaml").exists()


def test_costly_scans_look_at_no_more_than_the_edits_asked_for(scanned) -> None:
    found = results(scanned.folder)
    assert found["weight-gradient"].requests == 20
    assert found["causal-tracing"].requests == 6
    assert "6 of 20 edits, drawn with seed 0" in found["causal-tracing"].notes[0]


def test_more_scans_can_be_added_to_a_folder_and_none_runs_twice(
    scanned, tiny_dir, edits_file, monkeypatch
) -> None:
    ran = []

    def watched(name, context):
        ran.append(name)
        return real(name, context)

    real = verb.run_scan
    monkeypatch.setattr(verb, "run_scan", watched)
    settings = ScanSettings(
        model=str(tiny_dir),
        edits=str(edits_file),
        scans=("random", "depth-rule"),
        samples=2,
        requests=6,
    )
    again = scan(plan_scan(settings, scanned.folder, Silent()), Silent())
    assert ran == ["depth-rule"]
    assert {one.descriptor.name for one in again.inputs.scans} == {*SOME, "depth-rule"}


def test_json_is_all_that_stdout_has(tiny_dir, edits_file, tmp_path) -> None:
    out = run("--model", tiny_dir, "--edits", edits_file, "--scans", "depth-rule", "--output",
              tmp_path / "r", "--format", "json")  # fmt: skip
    assert out.exit_code == 0, out.output
    (one,) = json.loads(out.stdout)["scans"]
    assert one["scan"] == "depth-rule"
    assert one["scores"]
    assert one["sign"] == 1


def test_nothing_usable_exits_3_and_says_so(tiny_dir, tmp_path) -> None:
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps([{"prompt": f"a{i} is", "target": "b"} for i in range(4)]))
    out = run("--model", tiny_dir, "--edits", edits, "--scans", "causal-tracing", "--output",
              tmp_path / "r")  # fmt: skip
    assert out.exit_code == 3, out.output
    assert "no scan could use any of the edits" in out.stderr


def test_the_exit_code_is_that_of_the_scans_asked_for(tiny_dir, tmp_path) -> None:
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps([{"prompt": f"a{i} is", "target": "b"} for i in range(4)]))
    same = ("--model", tiny_dir, "--edits", edits, "--output", tmp_path / "r")
    assert run(*same, "--scans", "depth-rule").exit_code == 0
    assert run(*same, "--scans", "causal-tracing").exit_code == 3


def test_an_interrupt_is_said_and_what_is_done_stays(tiny_dir, edits_file, tmp_path, monkeypatch):
    def interrupted(name: str, context: ScanContext) -> ScanResult:
        if name == "depth-rule":
            raise KeyboardInterrupt
        return real(name, context)

    real = verb.run_scan
    monkeypatch.setattr(verb, "run_scan", interrupted)
    monkeypatch.setattr(sys, "argv", ["locscope", "scan"])
    out = run("--model", tiny_dir, "--edits", edits_file, "--scans", "random,depth-rule",
              "--output", tmp_path / "r")  # fmt: skip
    assert out.exit_code == 130
    assert "interrupted: the same command goes on" in out.stderr
    assert set(results(tmp_path / "r")) == {"random"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scans", "causal-trcing"], "unknown scan 'causal-trcing': did you mean causal-tracing"),
        (["--corruption", "blur"], "corruption"),
        (["--samples", "0"], "samples"),
        (["--metric", "loss"], "metric"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(arguments, words, tmp_path) -> None:
    out = run(*arguments, "--output", tmp_path / "r")
    assert out.exit_code == 2
    assert words in out.stderr
    assert not (tmp_path / "r").exists()


def test_strict_names_the_edit_whose_subject_is_not_there(tiny_dir, tmp_path) -> None:
    edits = tmp_path / "edits.json"
    rows = [
        {"id": f"e{i}", "prompt": f"a{i} is", "target": "b", "subject": f"a{i}"} for i in (1, 2)
    ]
    edits.write_text(json.dumps([*rows, {**rows[0], "id": "odd", "prompt": "zz is"}]))
    out = run("--model", tiny_dir, "--edits", edits, "--strict", "--output", tmp_path / "r")
    assert out.exit_code == 2
    assert "edit odd: its subject 'a1' is not in its prompt 'zz is'" in out.stderr
    assert not (tmp_path / "r").exists()


def test_a_scan_that_cannot_see_the_model_is_said_and_the_others_go_on(
    tiny_dir, edits_file, tmp_path, monkeypatch
) -> None:
    real = verb.run_scan

    def blind(name: str, context: ScanContext) -> ScanResult:
        if name == "causal-tracing":
            raise UsageError("no hook here")
        return real(name, context)

    monkeypatch.setattr(verb, "run_scan", blind)
    heard = []
    settings = settings_of(
        ScanSettings, {"model": str(tiny_dir), "edits": str(edits_file), "scans": SOME}
    )
    found = scan(plan_scan(settings, tmp_path / "r", Silent()), _Listener(heard))
    assert "causal-tracing was not run: no hook here" in heard
    there = results(tmp_path / "r")
    assert (there["causal-tracing"].usable, there["causal-tracing"].scores) == (0, ())
    assert there["weight-gradient"].usable == 20
    assert found.usable
    alone = settings_of(ScanSettings, {**settings.model_dump(), "scans": ("causal-tracing",)})
    with pytest.raises(UsageError, match="no hook here"):
        scan(plan_scan(alone, tmp_path / "q", Silent()), Silent())


class _Listener(Progress):
    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def start(self, stage: str, total: int, share: float = 0.0) -> None: ...

    def advance(self, note: str = "") -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...

    def say(self, line: str) -> None:
        self.heard.append(line)


def test_cheap_scans_are_those_whose_cost_does_not_grow() -> None:
    cheap = {name for name in SCANS if is_cheap(name)}
    assert {"weight-gradient", "head-gradient", "random", "logit-lens"} <= cheap
    assert not cheap & {"causal-tracing", "head-ablation", "knowledge-neurons", "step-forecast"}
