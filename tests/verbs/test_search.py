"""A whole search on a tiny model: what it writes, that it resumes, that it repeats itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from made_up import World

from locscope.errors import UsageError
from locscope.execute import local
from locscope.locations import Location
from locscope.progress import Silent
from locscope.records import Scorecard, TrialRecord, loads
from locscope.report.recipe_rows import recipes_table
from locscope.runs.edit_config import read_recommendation
from locscope.runs.folder import open_run, read_info
from locscope.runs.store import iterate
from locscope.scoring.objectives import BALANCED
from locscope.selection.choice import Best, best_per_location
from locscope.selection.space import FULL, Ask, Fidelity
from locscope.settings import SearchSettings
from locscope.tuning.trial import run_trial
from locscope.verbs.desk import Desk, Listener
from locscope.verbs.plan import plan_search, split_edits
from locscope.verbs.search import Found, on_rates, on_rules, search


def trials_in(folder: Path) -> dict[str, TrialRecord]:
    return {record.trial.id: record for record in iterate(folder, "trial", TrialRecord)}


def timeless(record: TrialRecord) -> TrialRecord:
    return replace(record, seconds=0.0)


def test_writes_the_whole_run_folder(found: Found) -> None:
    names = {path.name for path in found.folder.iterdir()}
    tables = {"trials.parquet", "measures.parquet", "edits.parquet", "scans.parquet"}
    files = {"recommendation.yaml", "report.html", "run.json", "scorecard.json", "figures"}
    assert tables | files | {"records"} <= names
    assert read_info(found.folder) == found.inputs.run
    assert loads(Scorecard, (found.folder / "scorecard.json").read_bytes()).verdicts


def test_every_candidate_gets_a_look_at_equal_first_steps(found: Found) -> None:
    looks = [r for r in trials_in(found.folder).values() if r.trial.rung == "look"]
    # Quarters of three layers begin at 0, 1, 2 and 2; of their pairs only 0-1 is another range.
    ranges = ("L0.", "L1.", "L2.", "L0-1.")
    places = [f"{span}{part}" for span in ranges for part in ("mlp.down", "attn")]
    assert {r.trial.location for r in looks} == set(places)
    l1 = {(s.layer, s.part): s.score for s in found.inputs.scans[0].scores if s.variant == "l1"}
    for record in looks:
        site = Location.parse(record.trial.location).sites[0]
        norm = sum(l1[n, site.part] for n in range(site.first, site.last + 1))
        # The look is at the highest rate of the grid: three times that of a first step of 0.3.
        assert record.trial.recipe.lr * norm == pytest.approx(0.9, rel=1e-2)


def test_rungs_are_nested_and_looks_only_glance(found: Found) -> None:
    rungs = {r.trial.rung: r.trial for r in trials_in(found.folder).values()}
    look, second, full = (set(rungs[name].edits) for name in ("look", "second look", "full"))
    assert look <= second <= full
    assert rungs["look"].glance
    assert not rungs["full"].glance


def test_nothing_is_chosen_on_what_is_reported(found: Found) -> None:
    records = trials_in(found.folder).values()
    chosen = {e for r in records if r.trial.split == "S" for e in r.trial.edits}
    reported = {e for r in records if r.trial.split == "R" for e in r.trial.edits}
    assert chosen
    assert reported
    assert not chosen & reported


def test_recommended_is_the_best_on_s_at_its_best_rate(found: Found) -> None:
    best = found.inputs.recommendation.best
    on_s = [r for r in trials_in(found.folder).values() if r.trial.rung == "full"]
    mine = [r for r in on_s if r.trial.location == best.location]
    assert len({r.trial.recipe.lr for r in mine}) >= 3
    kept = [r for r in mine if not r.violated] or mine
    assert best.score_s == max(r.score for r in kept)
    assert best.recipe.lr in {r.trial.recipe.lr for r in kept if r.score == best.score_s}
    assert len(best.repetitions) == 2
    config = read_recommendation(found.folder)
    assert (config.location, config.recipe) == (best.location, best.recipe)


def test_recipes_are_compared_at_the_recommended_place_at_their_own_best_rates(
    found: Found,
) -> None:
    best, records = found.inputs.recommendation.best, trials_in(found.folder).values()
    mine = [r for r in records if r.trial.recipe.kind == "lora"]
    assert {r.trial.location for r in mine} == {best.location}
    on_s = [r for r in mine if r.trial.split == "S"]
    assert len({r.trial.recipe.lr for r in on_s}) >= 3
    chosen = best_per_location(on_s, BALANCED)[0].record.trial.recipe
    on_r = [r for r in mine if r.trial.split == "R"]
    assert {r.trial.recipe for r in on_r} == {chosen}
    full = [r for r in records if r.trial.recipe == best.recipe and r.trial.split == "R"]
    parts = {r.trial.edits for r in full if r.trial.location == best.location}
    assert {r.trial.edits for r in on_r} == parts
    table = recipes_table(found.inputs)
    assert [row[0].text for row in table.rows] == ["full", "lora"]
    assert table.rows[1][2].sort < table.rows[0][2].sort
    assert "UNMEASURED" not in (found.folder / "exports" / "README.txt").read_text()


def test_a_batch_that_is_set_is_the_batch(settings: SearchSettings, tmp_path: Path) -> None:
    plan = plan_search(settings.model_copy(update={"batch_size": 9}), tmp_path / "run")
    desk = Desk(plan, tmp_path, Silent())
    for fidelity in (Fidelity(FULL, 10, 12), Fidelity("look", 4, 2, glance=True)):
        assert desk.trial(Ask("L1.attn", 1e-3, fidelity)).recipe.batch == 9


@pytest.mark.parametrize("measure", ["forms", "multihop", "mean_perplexity_ratio"])
def test_a_bound_that_no_trial_for_choosing_measures_is_refused(
    settings: SearchSettings, tmp_path: Path, measure: str
) -> None:
    bounded = settings.model_copy(update={"bounds": (f"{measure}>=0.1",)})
    with pytest.raises(UsageError, match=measure):
        plan_search(bounded, tmp_path / "run")


@pytest.mark.parametrize("half", ["chosen", "held"])
def test_a_bound_that_one_half_of_the_edits_cannot_measure_is_refused(
    settings: SearchSettings, tmp_path: Path, half: str
) -> None:
    parts = split_edits(settings).parts
    rows = json.loads(Path(settings.edits).read_text())
    for i in getattr(parts, half):
        rows[i] |= {"rephrases": []}
    path = tmp_path / "lopsided.json"
    path.write_text(json.dumps(rows))
    lopsided = settings.model_copy(update={"edits": str(path)})
    assert split_edits(lopsided).parts == parts
    plan_search(lopsided, tmp_path / "run")
    bounded = lopsided.model_copy(update={"bounds": ("generalization>=0.5",)})
    with pytest.raises(UsageError, match=r"generalization.*S and R each need some"):
        plan_search(bounded, tmp_path / "run")


def test_tables_hold_all_trials_and_edits(found: Found) -> None:
    records = trials_in(found.folder)
    trials = pd.read_parquet(found.folder / "trials.parquet")
    edits = pd.read_parquet(found.folder / "edits.parquet")
    assert set(trials["trial"]) == set(records)
    assert len(edits) == sum(len(r.outcomes) for r in records.values())


def test_same_seed_same_numbers(found: Found, settings: SearchSettings, tmp_path: Path) -> None:
    again = search(plan_search(settings, tmp_path / "again"), Silent())
    first, second = trials_in(found.folder), trials_in(again.folder)
    assert {k: timeless(v) for k, v in first.items()} == {
        k: timeless(v) for k, v in second.items()
    } or repr_equal(first, second)
    assert (found.folder / "recommendation.yaml").read_text() == (
        again.folder / "recommendation.yaml"
    ).read_text()


def repr_equal(first: dict[str, TrialRecord], second: dict[str, TrialRecord]) -> bool:
    """As equal, with NaN equal to itself."""
    return {k: repr(timeless(v)) for k, v in first.items()} == {
        k: repr(timeless(v)) for k, v in second.items()
    }


def test_resumes_without_running_a_trial_again(
    found: Found, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = search(plan_search(settings, folder), Silent())
    lost = sorted(folder.glob("records/trial-*.json"))[0]
    lost.unlink()
    (folder / "records" / "recommendation-final.json").unlink()
    # As a run leaves it that was killed: it has told nothing yet.
    marker = json.loads((folder / "run.json").read_text())
    kept = {key: marker[key] for key in ("schema_number", "settings")}
    (folder / "run.json").write_text(json.dumps({**kept, "status": "started"}))
    took = sum(record.seconds for record in trials_in(folder).values())
    ran = []
    monkeypatch.setattr(local, "run_trial", lambda *args: ran.append(1) or run_trial(*args))
    second = search(plan_search(settings, folder), Silent())
    assert len(ran) == 1
    assert second.inputs.recommendation.sentence == first.inputs.recommendation.sentence
    # What the killed run spent is not lost, and counts once.
    costs = [one for one in second.inputs.run.stages if one.resumed]
    assert took <= sum(one.seconds for one in costs) <= 1.5 * took + 5


def test_what_is_added_may_fail_and_the_recommendation_stands(
    found: Found, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("locscope.verbs.search.compare_recipes", _fails)
        with pytest.raises(MemoryError, match="too large"):
            search(plan_search(settings, folder), Silent())
    written = read_recommendation(folder)
    assert written == read_recommendation(found.folder)
    assert (folder / "report.html").exists()
    assert not (folder / "scorecard.json").exists()
    assert read_info(folder).status == "unfinished"
    assert "not finished" in (folder / "report.html").read_text(encoding="utf-8")
    costs = {stage.stage for stage in read_info(folder).stages}
    assert "confirming on R" in costs
    assert "audit" not in costs
    # Costs of the run that was cut off count once.
    search(plan_search(settings, folder), Silent())
    names = [one.stage for one in read_info(folder).stages if one.tasks > one.resumed]
    assert names.count("confirming on R") == names.count("audit") == 1
    assert read_info(folder).status == "done"
    assert "not finished" not in (folder / "report.html").read_text(encoding="utf-8")


def _fails(*_: object) -> None:
    raise MemoryError("too large")


def test_recipes_and_audit_can_be_added_later(settings: SearchSettings, tmp_path: Path) -> None:
    bare = settings.model_copy(update={"recipes": (), "audit": 0, "thorough": False})
    first = search(plan_search(bare, tmp_path / "run"), Silent())
    assert first.inputs.scorecard is None
    more = settings.model_copy(update={"thorough": False})
    second = search(plan_search(more, tmp_path / "run"), Silent())
    assert second.inputs.scorecard is not None
    assert recipes_table(second.inputs) != recipes_table(first.inputs)
    assert repr(second.inputs.recommendation) == repr(first.inputs.recommendation)
    third = search(plan_search(bare, tmp_path / "run"), Silent())
    assert repr(third.inputs.scorecard) == repr(second.inputs.scorecard)


def test_notes_tell_of_a_single_rate_and_of_what_only_comparison_found() -> None:
    world = World(peak=3, part="mlp.down")
    space = world.space()

    def best(place: str, *factors: float) -> Best:
        start = world.start(place)
        asks = [Ask(place, start * factor, space.full) for factor in factors]
        return best_per_location([world.record(ask) for ask in asks], space.aim)[0]

    chosen, inside, edge = best("L5.mlp", 1), best("L4.mlp", 1 / 3, 1, 3), best("L2.mlp", 1 / 9, 1)
    assert [note.partition(":")[0] for note in on_rates([chosen, inside, edge], space)] == [
        "L5.mlp",
        "L2.mlp",
    ]
    better, worse = best("L3.mlp.down", 1), best("L9.attn", 1)
    rules = {"depth-rule": better, "random": worse}
    (note,) = on_rules(chosen, rules, space)
    assert note.startswith("L3.mlp.down (depth-rule) at ")
    assert not list(on_rules(better, rules, space))


def test_weights_come_back_bit_for_bit(settings: SearchSettings, tmp_path: Path) -> None:
    plan = plan_search(settings, tmp_path / "run")
    before = {k: v.clone() for k, v in plan.loaded.model.state_dict().items()}
    search(plan, Silent())
    after = plan.loaded.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.requires_grad for p in plan.loaded.model.parameters())


def test_other_settings_are_refused(found: Found, settings: SearchSettings) -> None:
    other = settings.model_copy(update={"seed": 7})
    with pytest.raises(UsageError, match="seed 0 -> 7"):
        search(plan_search(other, found.folder), Silent())


def test_a_folder_in_use_is_refused(settings: SearchSettings, tmp_path: Path) -> None:
    plan = plan_search(settings, tmp_path / "run")
    with (
        open_run(plan.folder, plan.frozen),
        pytest.raises(UsageError, match="in use by process"),
    ):
        search(plan, Silent(), tracker=_never_opened())


@contextmanager
def _never_opened() -> Iterator[Listener]:
    raise AssertionError("opened, though the folder is another's")
    yield


def test_a_tracker_is_told_of_every_trial_that_was_run_and_closed(
    settings: SearchSettings, tmp_path: Path
) -> None:
    told, closed = [], []

    @contextmanager
    def tracker() -> Iterator[Listener]:
        yield told.append
        closed.append(len(told))

    bare = settings.model_copy(update={"recipes": (), "audit": 0, "thorough": False})
    first = search(plan_search(bare, tmp_path / "run"), Silent(), tracker=tracker())
    assert {record.trial.id for record in told} == set(trials_in(first.folder))
    assert closed == [len(told)] == [len(trials_in(first.folder))]
    search(plan_search(bare, tmp_path / "run"), Silent(), tracker=tracker())
    assert closed == [len(told), len(told)], "known trials are not told again"


def test_an_edit_set_without_neighbours_gets_them_from_the_other_half(
    settings: SearchSettings, tmp_path: Path
) -> None:
    rows = json.loads(Path(settings.edits).read_text())
    path = tmp_path / "bare.json"
    path.write_text(json.dumps([{k: r[k] for k in ("prompt", "target")} for r in rows]))
    made = plan_search(settings.model_copy(update={"edits": str(path)}), tmp_path / "run")
    edits = made.edit_set.edits
    prompts = {i: edits[i].prompt for i in range(len(edits))}
    chosen, held = set(made.parts.chosen), set(made.parts.held)
    for mine, others in ((chosen, held), (held, chosen)):
        lent = {n.prompt for i in mine for n in edits[i].neighbours}
        assert lent
        assert lent <= {prompts[i] for i in others}
