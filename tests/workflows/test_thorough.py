"""The recommendation under other protocols, and on fewer and more edits than it was chosen on."""

import shutil
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from locscope.edits import read_edits
from locscope.edits.texts import key
from locscope.execution import local
from locscope.locations import Location
from locscope.progress import Silent
from locscope.records import COUNT_RUNG, Edit, ProtocolResults, TrialRecord
from locscope.runs.folder import open_run
from locscope.runs.info import read_info
from locscope.runs.store import iterate, read_record, write_record
from locscope.selection.choice import Best
from locscope.selection.space import Fidelity, TrialRequest
from locscope.settings import SearchSettings
from locscope.tuning.protocols import PROTOCOLS
from locscope.workflows.publish import Found
from locscope.workflows.report import load_run
from locscope.workflows.search import local_runner
from locscope.workflows.search.edit_counts import (
    count_curve,
    counts,
    drawn_edits,
    edits_on_curve,
    first_of,
)
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import Plan, plan_search
from locscope.workflows.search.run import search
from locscope.workflows.search.stages import trial_of


def counted(folder: Path) -> list[TrialRecord]:
    records = iterate(folder, "trial", TrialRecord)
    return [record for record in records if record.trial.rung.startswith(COUNT_RUNG)]


def stages(folder: Path) -> dict[str, tuple[int, int]]:
    """Tasks and resumed tasks of the last run of every stage."""
    info = read_info(folder)
    assert info is not None
    return {one.stage: (one.tasks, one.resumed) for one in info.stages}


def test_recommended_and_runner_up_are_asked_under_every_protocol(found: Found) -> None:
    recommended, runner_up = found.inputs.panels
    contenders = {one.role: one for one in found.inputs.recommendation.contenders}
    records = {record.trial.id: record for record in found.inputs.trials}
    for panel, role in ((recommended, "recommended"), (runner_up, "runner-up")):
        assert (panel.role, panel.location) == (role, contenders[role].location)
        assert [row.name for row in panel.rows if row.kind == "protocol"] == list(PROTOCOLS)
        record = records[panel.trial]
        assert (record.trial.split, record.trial.rung) == ("T", "report-1")
        assert panel.score == record.score
        for measure in panel.searched.measures:
            assert repr(measure) == repr(record.measure(measure.name))
    assert repr(load_run(found.folder).panels) == repr(found.inputs.panels)


def test_counts_are_nested_and_of_the_same_locations(found: Found) -> None:
    contenders = {one.role: one for one in found.inputs.recommendation.contenders}
    locations = {contenders[role].location for role in ("recommended", "runner-up", "depth-rule")}
    by_count: dict[int, list[TrialRecord]] = {}
    for record in counted(found.folder):
        by_count.setdefault(len(record.trial.edits), []).append(record)
        assert record.trial.rung == f"count-{len(record.trial.edits)}"
        assert record.trial.split == "all"
        assert not record.trial.choosing
        assert record.measure("locality").count
    assert sorted(by_count) == [5, 10, 20]
    for records in by_count.values():
        assert {record.trial.location for record in records} == locations
        assert len({record.trial.edits for record in records}) == 1
    edits = [set(by_count[count][0].trial.edits) for count in (5, 10, 20)]
    assert edits[0] < edits[1] < edits[2]
    for record in counted(found.folder):
        same = [c for c in contenders.values() if c.location == record.trial.location]
        assert record.trial.recipe in [one.recipe for one in same]


@pytest.fixture
def copied(found: Found, tmp_path: Path) -> Path:
    """The finished run in a folder of its own."""
    return Path(shutil.copytree(found.folder, tmp_path / "copied"))


def test_what_is_stored_is_not_run_again(
    found: Found, copied: Path, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_runner, "run_panel", lambda *_: pytest.fail("a panel was run again"))
    monkeypatch.setattr(local, "run_trial", lambda *_: pytest.fail("a trial was run again"))
    again = search(plan_search(settings, copied), Silent())
    assert repr(again.inputs.panels) == repr(found.inputs.panels)
    # What nothing was added to is not counted again; a scan that found nothing is tried again.
    first, second = (
        [one for one in info.stages if not one.stage.startswith("scan ")]
        for info in (read_info(found.folder), read_info(copied))
        if info is not None
    )
    assert second == first


def test_a_panel_of_another_trial_is_run_again(
    found: Found, copied: Path, settings: SearchSettings
) -> None:
    stored = read_record(copied, "panel", "runner-up", ProtocolResults)
    assert stored is not None
    write_record(copied, "panel", "runner-up", replace(stored, trial="another", rows=()))
    last = search(plan_search(settings, copied), Silent())
    assert repr(last.inputs.panels) == repr(found.inputs.panels)
    assert stages(copied)["other protocols"] == (2, 1)


def test_it_can_be_left_out_and_added_later(
    found: Found, copied: Path, settings: SearchSettings
) -> None:
    for record in counted(copied):
        (copied / "records" / f"trial-{record.trial.id}.json").unlink()
    for path in (copied / "records").glob("panel-*.json"):
        path.unlink()
    bare = settings.model_copy(update={"thorough": False})
    without = search(plan_search(bare, copied), Silent())
    assert without.inputs.panels == ()
    assert counted(copied) == []
    assert repr(without.inputs.recommendation) == repr(found.inputs.recommendation)
    second = search(plan_search(settings, copied), Silent())
    assert repr(second.inputs.panels) == repr(found.inputs.panels)
    assert len(counted(copied)) == len(counted(found.folder))


def curve(settings: SearchSettings, folder: Path) -> tuple[Plan, list[TrialRecord]]:
    """The curve of one place, as after a search."""
    plan = plan_search(settings, folder)
    with open_run(plan.folder, plan.frozen) as opened:
        runner = LocalTrialRunner(plan, opened, Silent())
        full = Fidelity("full", len(plan.chosen), 4)
        (record,) = runner.trials(
            "full", [trial_of(plan, TrialRequest(Location.parse("L1.mlp.down"), 1e-3, full))]
        )
        best = Best(record.trial.location, record, (record,))
        count_curve(runner, [best])
        assert {one.trial.id for one in runner.known.values()} > {record.trial.id}
    return plan, counted(folder)


def on_curve(plan: Plan) -> tuple[Edit, ...]:
    """The edits of the curve."""
    return edits_on_curve(drawn_edits(plan), plan)


def test_a_limited_search_is_taken_beyond_its_sample(
    settings: SearchSettings, tmp_path: Path
) -> None:
    limited = settings.model_copy(update={"limit": 12})
    plan, found = curve(limited, tmp_path / "run")
    drawn, edits = drawn_edits(plan), on_curve(plan)
    assert counts(12, len(edits)) == (3, 6, 12, 20)
    assert edits != plan.edit_set.edits
    assert set(first_of(edits, drawn, 12)) == {edit.id for edit in plan.edit_set.edits}
    assert set(first_of(edits, drawn, 20)) == {edit.id for edit in read_edits(settings.edits).edits}
    assert sorted(len(record.trial.edits) for record in found) == [3, 6, 12, 20]
    assert all(record.trial.edit_set != plan.edit_set.fingerprint for record in found)
    assert all(len(record.outcomes) == len(record.trial.edits) for record in found)


@pytest.mark.parametrize(
    ("curve_to", "wanted"), [(None, (2, 5, 10, 20)), (15, (2, 5, 10, 15)), (4, (2, 5, 10))]
)
def test_the_curve_goes_on_to_twice_the_edits_searched_or_as_far_as_is_said(
    curve_to: int | None, wanted: tuple[int, ...], settings: SearchSettings, tmp_path: Path
) -> None:
    asked = settings.model_copy(update={"limit": 10, "curve_to": curve_to})
    plan = plan_search(asked, tmp_path / "run")
    assert counts(10, len(on_curve(plan))) == wanted


def test_the_suite_of_its_own_measures_as_that_of_the_search(
    settings: SearchSettings, tmp_path: Path
) -> None:
    """The whole file is asked alike, whether the search was limited to a part of it or not."""
    plan, found = curve(settings, tmp_path / "run")
    limited = settings.model_copy(update={"limit": 19})
    other, beyond = curve(limited, tmp_path / "limited")
    whole = max(found, key=lambda record: len(record.trial.edits))
    same = max(beyond, key=lambda record: len(record.trial.edits))
    assert on_curve(plan) == plan.edit_set.edits
    assert on_curve(other) != other.edit_set.edits
    assert set(whole.trial.edits) == set(same.trial.edits)
    before = [m.before for m in whole.measures if m.name in ("reliability", "generalization")]
    again = [m.before for m in same.measures if m.name in ("reliability", "generalization")]
    assert before == again
    assert whole.measure("locality").count == same.measure("locality").count


def test_lent_neighbours_judge_nothing_where_they_are_tuned(
    settings: SearchSettings, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.csv"
    rows = [f"land{i} is ruled from,Town{i}" for i in range(12)]
    bare.write_text("\n".join(["prompt,target", *rows]))
    plan, found = curve(settings.model_copy(update={"edits": str(bare)}), tmp_path / "run")
    assert any(edit.neighbours for edit in plan.edit_set.edits)
    assert not any(edit.neighbours for edit in on_curve(plan))
    for record in found:
        assert isnan(record.measure("locality").value)
        assert record.measure("reliability").count == len(record.trial.edits)


def test_no_neighbour_is_among_the_edits(settings: SearchSettings, tmp_path: Path) -> None:
    plan = plan_search(settings.model_copy(update={"limit": 12}), tmp_path / "run")
    edits = on_curve(plan)
    edited = {key(text) for edit in edits for text in (edit.prompt, *edit.rephrases)}
    assert not any(key(n.prompt) in edited for edit in edits for n in edit.neighbours)


@pytest.mark.parametrize(
    ("searched", "most", "wanted"),
    [
        (100, 100, (25, 50, 100)),
        (100, 150, (25, 50, 100, 150)),
        (100, 3000, (25, 50, 100, 548, 3000)),
        (3, 3, (1, 3)),
    ],
)
def test_counts(searched: int, most: int, wanted: tuple[int, ...]) -> None:
    assert counts(searched, most) == wanted
