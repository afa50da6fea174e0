"""`edit --config RUN` repeats the trial that its search deployed, number for number."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import yaml
from towns import edit_rows

from locscope.edits import read_edits
from locscope.edits.splits import first_edits
from locscope.errors import UsageError
from locscope.progress import Silent
from locscope.records import TrialRecord
from locscope.runs.edit_config import read_recommendation
from locscope.runs.store import iterate
from locscope.scoring.bounds import SHARES
from locscope.settings import EditSettings, EvaluateSettings, SearchSettings, settings_of
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.evaluate import evaluate, plan_evaluate
from locscope.workflows.publish import Found, data_of
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search

Small = Callable[..., Found]


@pytest.fixture
def small(tiny_dir: Path, tmp_path: Path) -> Small:
    """A search of three locations; options replace those here."""

    def run(rows: list[dict], **more: object) -> Found:
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows))
        given = {
            "model": str(tiny_dir),
            "edits": str(path),
            "parts": ("mlp.down",),
            "scans": ("weight-gradient",),
            "quarters": False,
            "finalists": 2,
            "validations": 1,
            "repetitions": 1,
            "controls": 1,
            "audit": 0,
            "thorough": False,
            "epochs": 5,
        }
        settings = settings_of(SearchSettings, given | more)
        return search(plan_search(settings, tmp_path / "run"), Silent())

    return run


def deployed_in(folder: Path) -> TrialRecord:
    (found,) = [r for r in iterate(folder, "trial", TrialRecord) if r.trial.rung == "deployed"]
    return found


def repeated(folder: Path, output: Path, **more: object) -> TrialRecord:
    """What `locscope edit --config FOLDER --output OUTPUT` makes."""
    return edit(plan_edit(settings_of(EditSettings, more), folder, output), Silent())


def check_evaluated(output: Path, record: TrialRecord) -> None:
    """`locscope evaluate DIR` with no other option measures what was measured when tuning."""
    found = evaluate(plan_evaluate(EvaluateSettings(model=str(output))), Silent())
    for one in found:
        then = record.measure(one.name)
        assert one.count == then.count, one.name
        assert one.value == pytest.approx(then.value, rel=1e-6, nan_ok=True), one.name


def check(folder: Path, record: TrialRecord) -> None:
    """Everything that was measured in the search's last trial is measured again."""
    made = deployed_in(folder)
    assert replace(record.trial, rung="") == replace(made.trial, rung="")
    assert [m.name for m in record.measures] == [m.name for m in made.measures]
    for now, then in zip(record.measures, made.measures, strict=True):
        assert (now.count, now.protocol) == (then.count, then.protocol)
        exact = now.name in SHARES and not now.name.endswith(("probability", "kept"))
        tolerance = 0.0 if exact else 1e-6
        for field in ("value", "low", "high", "before"):
            wanted = pytest.approx(getattr(then, field), rel=tolerance, nan_ok=True)
            assert getattr(now, field) == wanted, (now.name, field)
    assert record.score == pytest.approx(made.score, rel=1e-6, nan_ok=True)
    assert record.violated == made.violated
    assert [o.edit for o in record.outcomes] == [o.edit for o in made.outcomes]
    assert [o.output for o in record.outcomes] == [o.output for o in made.outcomes]


def test_the_edits_of_a_search_are_made_as_it_said(found: Found, tmp_path: Path) -> None:
    record = repeated(found.folder, tmp_path / "edited")
    check(found.folder, record)
    at = found.inputs.recommendation.deployment
    assert repr(at.measures) == repr(record.measures)
    assert record.measure("locality").count


def test_without_neighbours_of_their_own_none_are_lent(small: Small, tmp_path: Path) -> None:
    """A search lends prompts of edits that it does not tune; here all are tuned."""
    rows = [{k: r[k] for k in ("prompt", "target", "rephrases")} for r in edit_rows(16)]
    made = small(rows)
    check(made.folder, repeated(made.folder, tmp_path / "edited"))
    recommendation = made.inputs.recommendation
    assert isnan(deployed_in(made.folder).measure("locality").value)
    assert "locality" not in recommendation.score_name
    assert recommendation.best.measures[3].name == "locality"
    assert recommendation.best.measures[3].count
    assert any("have no neighbours of their own" in note for note in recommendation.notes)


def test_a_limited_search_of_another_seed_is_repeated(small: Small, tmp_path: Path) -> None:
    rows = edit_rows(24)
    rows.append({**rows[0], "id": "contradicts", "target": "nobody"})
    made = small(rows, limit=15, seed=3, conflicts="last", prefixes=1)
    section = yaml.safe_load((made.folder / "recommendation.yaml").read_text())["locscope"]
    assert section["data"] == {
        "edits": str(tmp_path / "rows.json"),
        "limit": 15,
        "seed": 3,
        "conflicts": "last",
        "dtype": "float32",
    }
    record = repeated(made.folder, tmp_path / "edited")
    assert len(record.trial.edits) == 14, "two of the fifteen contradict each other"
    assert record.trial.recipe.prefixes == 1
    check(made.folder, record)
    check_evaluated(tmp_path / "edited", record)
    # Of another file, or with a limit of one's own, the search's limit says nothing.
    other = tmp_path / "other.json"
    other.write_text(json.dumps(rows))
    options = EditSettings(edits=str(other), conflicts="last")
    plan = plan_edit(options, made.folder, tmp_path / "another")
    assert len(plan.edit_set.edits) == 24
    assert plan.settings.seed == 3
    plan = plan_edit(EditSettings(limit=18), made.folder, tmp_path / "another")
    assert plan.edit_set.notes[0].startswith("18 of 25 rows")


def test_fewer_edits_are_deployed_where_that_is_asked_for(small: Small, tmp_path: Path) -> None:
    """Subjects of edits that are not among them decide too which texts are neutral."""
    rows = edit_rows(16)
    made = small(rows, deploy=7, seed=1)
    record = deployed_in(made.folder)
    assert len(record.trial.edits) == 7
    assert made.inputs.recommendation.deployment.given == 16
    assert "on 7 of 16 edits" in made.inputs.recommendation.sentence
    assert read_recommendation(made.folder).data["deploy"] == 7
    again = repeated(made.folder, tmp_path / "edited")
    check(made.folder, again)
    check_evaluated(tmp_path / "edited", again)
    plan = plan_edit(EditSettings(), made.folder, tmp_path / "another")
    assert any("7 of 16 edits" in note for note in plan.edit_set.notes)
    assert len(plan.given.edits) == 16
    # More than that are made by saying so, and another file is another file.
    all_of_them = plan_edit(EditSettings(limit=16), made.folder, tmp_path / "another")
    assert len(all_of_them.edit_set.edits) == 16
    other = tmp_path / "other.json"
    other.write_text(json.dumps(rows))
    plan = plan_edit(EditSettings(edits=str(other)), made.folder, tmp_path / "another")
    assert len(plan.edit_set.edits) == 16


def test_texts_that_mention_an_edit_left_out_are_not_neutral_either(
    small: Small, found: Found, tmp_path: Path
) -> None:
    """A short subject stands in many texts of the model's own."""
    rows = edit_rows(16)
    file = tmp_path / "plain.json"
    file.write_text(json.dumps(rows))
    edits = read_edits(str(file)).edits
    drawn = first_edits(edits, 7, 1)
    left = [row for row in rows if row["id"] not in drawn]
    for row, letter in zip(left, "aeiout", strict=False):
        row["subject"] = letter
    made = small(rows, deploy=7, seed=1)
    record = deployed_in(made.folder)
    assert record.trial.edits == drawn
    before, after = (
        one.measure("perplexity_ratio").count for one in (deployed_in(found.folder), record)
    )
    assert after < before
    check(made.folder, repeated(made.folder, tmp_path / "edited"))


def test_data_are_what_edit_takes(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").touch()
    at = found.inputs.recommendation.deployment
    told = {"edits": "2024", "limit": "None", "seed": "7", "deploy": "99", "dtype": "float32"}
    plain = {"edits": str(Path("2024").resolve()), "seed": 7, "dtype": "float32"}
    assert data_of(told, at) == plain
    # Above a thousand it is the search itself that deploys fewer.
    few = replace(at, edits=1000, given=3000)
    assert data_of({**told, "deploy": "None"}, few)["deploy"] == 1000
    assert data_of(told, None) == plain


def test_unknown_data_are_refused(found: Found, tmp_path: Path) -> None:
    content = yaml.safe_load((found.folder / "recommendation.yaml").read_text())
    content["locscope"]["data"]["edit"] = "mine.json"
    file = tmp_path / "recommendation.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"key under 'data'.*edit"):
        plan_edit(EditSettings(), file, tmp_path / "edited")
