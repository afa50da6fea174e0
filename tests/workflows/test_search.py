"""A whole search on a tiny model: what it writes, that it resumes, that it repeats itself."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import ceil, isnan
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from made_up import World

from locscope.edits.splits import first_edits
from locscope.errors import UsageError
from locscope.execution import local
from locscope.locations import Location
from locscope.progress import Silent
from locscope.recommendation.fitting import KEPT_FREE
from locscope.recommendation.looser_bounds import judged
from locscope.records import Measure, Recommendation, Scorecard, TrialRecord, loads
from locscope.report.data.recommendation_rows import recipes_table
from locscope.runs.edit_config import read_recommendation
from locscope.runs.folder import open_run
from locscope.runs.info import read_info
from locscope.runs.store import iterate
from locscope.scoring.bounds import shortfall
from locscope.scoring.objectives import BALANCED, QUICK, Objective, merit, objective_of
from locscope.selection.choice import Best, best_per_location
from locscope.selection.space import FULL, Fidelity, TrialRequest
from locscope.selection.strategies.race import LEARNS
from locscope.settings import SearchSettings
from locscope.tuning.trial import run_trial
from locscope.workflows.early.edits import split_edits
from locscope.workflows.publish import Found
from locscope.workflows.report import load_run
from locscope.workflows.search.local_runner import Listener
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import ADDING, on_controls, on_rates, search
from locscope.workflows.search.stages import trial_of


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


def test_every_candidate_gets_a_look_at_which_its_steps_can_learn(
    found: Found, settings: SearchSettings, tmp_path: Path
) -> None:
    to_learn = plan_search(settings, tmp_path / "run").to_learn
    looks = [r for r in trials_in(found.folder).values() if r.trial.rung == "rung 1"]
    # Quarters of three layers begin at 0, 1, 2 and 2; of their pairs only 0-1 is another range.
    ranges = ("L0.", "L1.", "L2.", "L0-1.")
    locations = [f"{span}{part}" for span in ranges for part in ("mlp.down", "attn")]
    assert {r.trial.location for r in looks} == set(map(Location.parse, locations))
    l1 = {(s.layer, s.part): s.score for s in found.inputs.scans[0].scores if s.variant == "l1"}
    steps = looks[0].trial.recipe.epochs * ceil(
        len(looks[0].trial.edits) / looks[0].trial.recipe.batch
    )
    for record in looks:
        site = record.trial.location.sites[0]
        norm = sum(l1[n, site.part] for n in range(site.first, site.last + 1))
        predicted = record.trial.recipe.lr * norm * steps
        assert predicted == pytest.approx(LEARNS * to_learn, rel=2e-2)


def test_rungs_are_nested_and_looks_only_quick(found: Found) -> None:
    rungs = {r.trial.rung: r.trial for r in trials_in(found.folder).values()}
    look, second, full = (set(rungs[name].edits) for name in ("rung 1", "rung 2", "full"))
    assert look <= second <= full
    assert rungs["rung 1"].quick
    assert not rungs["full"].quick


def parts_of(settings: SearchSettings) -> tuple[set[str], set[str], set[str]]:
    """Ids of S, V and T."""
    made = split_edits(settings)
    ids = [edit.id for edit in made.edit_set.edits]
    s, v, t = made.parts.select, made.parts.validate, made.parts.report
    return {ids[i] for i in s}, {ids[i] for i in v}, {ids[i] for i in t}


def test_nothing_is_chosen_on_what_is_reported(found: Found, settings: SearchSettings) -> None:
    s, v, t = parts_of(settings)
    assert len(s) + len(v) + len(t) == len(s | v | t) == 20
    records = trials_in(found.folder).values()
    by_split: dict[str, set[str]] = {}
    for record in records:
        trial = record.trial
        by_split.setdefault(trial.split, set()).update(trial.measured)
        if trial.choosing:
            assert not t & set(trial.measured), trial.rung
            assert {outcome.edit for outcome in record.outcomes} == set(trial.measured)
        if trial.split in "SVT":
            assert trial.measured == trial.edits
    assert by_split.keys() == {"S", "V", "T", "all"}
    assert by_split["S"] == s
    assert by_split["V"] == v
    assert by_split["T"] <= t
    # What is not for choosing is on T, or tunes edits of all parts.
    assert {r.trial.split for r in records if not r.trial.choosing} == {"T", "all"}


def test_recipes_are_fitted_on_all_edits_and_judged_on_s_and_v(
    found: Found, settings: SearchSettings
) -> None:
    s, v, t = parts_of(settings)
    fits = [r for r in trials_in(found.folder).values() if r.trial.rung == "fit"]
    at = found.inputs.recommendation.deployment
    assert at is not None
    for record in fits:
        assert set(record.trial.edits) == s | v | t
        assert set(record.trial.measured) == s | v
        assert record.trial.choosing
        assert not record.trial.thorough
    told = {(one.location, one.lr, one.batch, one.score) for one in at.fits}
    assert told == {
        (r.trial.location, r.trial.recipe.lr, r.trial.recipe.batch, r.score) for r in fits
    }
    mine = [r for r in fits if r.trial.location == at.location]
    objective = objective_of_fits(found.inputs.recommendation)
    mine = [judged(record, objective) for record in mine]
    assert at.recipe == best_per_location(mine, objective.strict)[0].record.trial.recipe


def objective_of_fits(recommendation: Recommendation) -> Objective:
    """The bound that recipes were fitted within: the one asked for with half of its room, without
    any where nothing useful leaves it, or a looser one."""
    if recommendation.relaxed:
        return objective_of("balanced", bounds=[recommendation.relaxed])
    marginless = any("keeps the margin" in note for note in recommendation.notes)
    return replace(
        BALANCED, bound_margin=0.0 if marginless else recommendation.bound_margin * KEPT_FREE
    )


def test_what_is_deployed_is_what_is_said(found: Found) -> None:
    recommendation = found.inputs.recommendation
    at = recommendation.deployment
    assert at is not None
    (record,) = [r for r in trials_in(found.folder).values() if r.trial.rung == "deployed"]
    assert (at.trial, at.location) == (record.trial.id, recommendation.best.location)
    assert (at.edits, at.given, len(record.outcomes)) == (20, 20, 20)
    assert record.trial.thorough
    assert not record.trial.choosing
    assert at.recipe == record.trial.recipe == recommendation.recipe
    assert repr(at.measures) == repr(record.measures)
    assert at.violated == record.violated
    assert set(record.violated) <= set(recommendation.missed)
    assert recommendation.met == (not recommendation.missed)
    reliability = record.measure("reliability").value
    bound = recommendation.relaxed
    looser = f"Nothing useful keeps the bound on perplexity; chosen within {bound}. "
    tune = (
        f"Tune {at.location} at learning rate {at.recipe.lr:g} (batch {at.recipe.batch}, at most "
        f"{at.recipe.epochs} epochs): on all 20 edits reliability {reliability:.1%}"
    )
    assert recommendation.sentence.startswith(
        f"{looser if bound and not recommendation.met else ''}{tune}"
    )
    section = yaml.safe_load((found.folder / "recommendation.yaml").read_text())["locscope"]
    assert section["location"] == str(at.location)
    assert section["recipe"] == asdict(at.recipe)
    assert section["deployed"] == {"edits": 20, "given": 20}
    assert section["score"]["value"] == record.score
    assert {m["name"]: m["value"] for m in section["measures"]} == {
        m.name: None if isnan(m.value) else m.value for m in record.measures
    }
    assert section["held_out"]["recipe"] == asdict(recommendation.best.recipe)
    assert section["held_out"]["value"] == recommendation.best.score
    assert section["met"] == recommendation.met
    assert section["reason"] == recommendation.reason
    config = read_recommendation(found.folder)
    assert (config.location, config.recipe) == (at.location, at.recipe)


def half_of(name: str, measures: Sequence[Measure]) -> float:
    """The measure's value and its probability's, half and half."""
    values = {measure.name: measure.value for measure in measures}
    return (values[name] + values[QUICK.get(name, name)]) / 2


def test_the_order_is_that_of_s_and_v(found: Found, settings: SearchSettings) -> None:
    """By hand: the means of all trials of a finalist, of which those too close to tell have more,
    then the smaller that lacks little."""
    records, recommendation = trials_in(found.folder).values(), found.inputs.recommendation
    on_v = [r for r in records if r.trial.split == "V"]
    rungs = {r.trial.rung for r in on_v}
    assert {"validate-1", "validate-2"} <= rungs <= {f"validate-{n}" for n in range(1, 5)}
    full = [r for r in records if r.trial.rung == "full"]
    told = {}
    for location in {r.trial.location for r in on_v}:
        mine = [r for r in on_v if r.trial.location == location]
        (recipe,) = {r.trial.recipe for r in mine}
        some = [r for r in full if (r.trial.location, r.trial.recipe) == (location, recipe)]
        assert len(some) == 1
        assert len(mine) in (settings.validations, 2 * settings.validations)
        measures = [
            Measure(name, sum(m.value * m.count for m in judged) / count, count, "by hand")
            for name in (*QUICK, *QUICK.values(), "perplexity_ratio")
            for judged in [[r.measure(name) for r in (*some, *mine) if r.measure(name).count]]
            for count in [sum(m.count for m in judged)]
        ]
        told[location] = (
            shortfall(measures, BALANCED.bounds),
            -merit([replace(m, value=half_of(m.name, measures)) for m in measures]),
            some[0].parameter_count,
        )
    assert len(told) == settings.finalists
    best = min(told, key=told.__getitem__)
    near = [
        location
        for location, (missed, utility, count) in told.items()
        if missed <= told[best][0]
        and utility <= told[best][1] + settings.non_inferiority
        and count < told[best][2]
    ]
    chosen = min(near, key=lambda location: told[location][2], default=best)
    at, reason = recommendation.best.location, recommendation.reason
    assert at == chosen or reason.startswith(f"{chosen} was first on S and V; on all edits")
    assert recommendation.contenders[1].location in told


def test_t_is_reported_on_afresh(found: Found, settings: SearchSettings) -> None:
    recommendation, records = found.inputs.recommendation, trials_in(found.folder).values()
    roles = [one.role for one in recommendation.contenders]
    assert roles == ["recommended", "runner-up", "depth-rule", "random"]
    on_t = [r for r in records if r.trial.rung.startswith("report-")]
    parts = {r.trial.rung: r.trial.edits for r in on_t}
    assert len(parts) == len({*parts.values()}) == settings.repetitions
    for one in recommendation.contenders[:3]:
        mine = [r for r in on_t if r.trial.location == one.location]
        mine = [r for r in mine if r.trial.recipe == one.recipe]
        by_rung = {r.trial.rung: r.score for r in mine}
        assert by_rung == dict(zip(sorted(parts), one.repetitions, strict=True))
        assert one.edits == len(mine[0].trial.edits)
    assert len(recommendation.randoms) == settings.controls
    for one in recommendation.randoms:
        (score,) = one.repetitions
        mine = [r for r in on_t if r.trial.location == one.location]
        assert score in [r.score for r in mine]
    assert [one.over for one in recommendation.margins] == roles[1:]


def test_a_recommendation_is_read_back_as_it_was(found: Found) -> None:
    assert repr(load_run(found.folder).recommendation) == repr(found.inputs.recommendation)


def test_recipes_are_compared_at_the_recommended_location_at_their_own_best_rates(
    found: Found,
) -> None:
    best, records = found.inputs.recommendation.best, trials_in(found.folder).values()
    mine = [r for r in records if r.trial.recipe.kind == "lora"]
    assert {r.trial.location for r in mine} == {best.location}
    on_s = [r for r in mine if r.trial.split == "S"]
    assert len({r.trial.recipe.lr for r in on_s}) >= 2
    chosen = best_per_location(on_s, BALANCED)[0].record.trial.recipe
    on_t = [r for r in mine if r.trial.split == "T"]
    assert {r.trial.recipe for r in on_t} == {chosen}
    full = [r for r in records if r.trial.recipe == best.recipe and r.trial.split == "T"]
    parts = {r.trial.edits for r in full if r.trial.location == best.location}
    assert {r.trial.edits for r in on_t} == parts
    table = recipes_table(found.inputs)
    assert [row[0].text for row in table.rows] == ["full", "lora"]
    assert table.rows[1][2].sort < table.rows[0][2].sort
    assert "UNMEASURED" not in (found.folder / "exports" / "README.txt").read_text()


def test_a_batch_that_is_set_is_the_batch(settings: SearchSettings, tmp_path: Path) -> None:
    plan = plan_search(settings.model_copy(update={"batch_size": 9}), tmp_path / "run")
    for fidelity in (Fidelity(FULL, 10, 12), Fidelity("rung 1", 4, 2, quick=True)):
        assert (
            trial_of(plan, TrialRequest(Location.parse("L1.attn"), 1e-3, fidelity)).recipe.batch
            == 9
        )


@pytest.mark.parametrize("measure", ["forms", "multihop", "mean_perplexity_ratio"])
def test_a_bound_that_no_trial_for_choosing_measures_is_refused(
    settings: SearchSettings, tmp_path: Path, measure: str
) -> None:
    bounded = settings.model_copy(update={"bounds": (f"{measure}>=0.1",)})
    with pytest.raises(UsageError, match=measure):
        plan_search(bounded, tmp_path / "run")


@pytest.mark.parametrize("part", ["select", "report"])
def test_a_bound_that_s_or_t_cannot_measure_is_refused(
    settings: SearchSettings, tmp_path: Path, part: str
) -> None:
    parts = split_edits(settings).parts
    rows = json.loads(Path(settings.edits).read_text())
    for i in getattr(parts, part):
        rows[i] |= {"rephrases": []}
    path = tmp_path / "lopsided.json"
    path.write_text(json.dumps(rows))
    lopsided = settings.model_copy(update={"edits": str(path)})
    assert split_edits(lopsided).parts == parts
    plan_search(lopsided, tmp_path / "run")
    bounded = lopsided.model_copy(update={"bounds": ("generalization>=0.5",)})
    with pytest.raises(UsageError, match=r"generalization.*S and T each need some"):
        plan_search(bounded, tmp_path / "run")


def test_tables_hold_all_trials_and_edits(found: Found) -> None:
    records = trials_in(found.folder)
    trials = pd.read_parquet(found.folder / "trials.parquet")
    edits = pd.read_parquet(found.folder / "edits.parquet")
    assert set(trials["trial"]) == set(records)
    assert len(edits) == sum(len(r.outcomes) for r in records.values())


@dataclass(frozen=True)
class Again:
    """The search run again without additions, what it told a tracker, and the weights' fate."""

    found: Found
    told: list[TrialRecord]
    closed: list[int]
    weights_kept: bool


@pytest.fixture(scope="module")
def again(plain: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Again:
    told, closed = [], []

    @contextmanager
    def tracker() -> Iterator[Listener]:
        yield told.append
        closed.append(len(told))

    plan = plan_search(plain, tmp_path_factory.mktemp("again") / "run")
    before = {k: v.clone() for k, v in plan.loaded.model.state_dict().items()}
    made = search(plan, Silent(), tracker=tracker())
    after = plan.loaded.model.state_dict()
    kept = all(torch.equal(before[k], after[k]) for k in before)
    kept = kept and not any(p.requires_grad for p in plan.loaded.model.parameters())
    return Again(made, told, closed, kept)


@pytest.fixture
def copied(again: Again, tmp_path: Path) -> Path:
    """That run in a folder of its own."""
    return Path(shutil.copytree(again.found.folder, tmp_path / "copied"))


def test_same_seed_same_numbers(found: Found, again: Again) -> None:
    first, second = trials_in(found.folder), trials_in(again.found.folder)
    assert second.keys() < first.keys()
    assert repr_equal({key: first[key] for key in second}, second)
    assert (found.folder / "recommendation.yaml").read_text() == (
        again.found.folder / "recommendation.yaml"
    ).read_text()


def repr_equal(first: dict[str, TrialRecord], second: dict[str, TrialRecord]) -> bool:
    """As equal, with NaN equal to itself."""
    return {k: repr(timeless(v)) for k, v in first.items()} == {
        k: repr(timeless(v)) for k, v in second.items()
    }


def test_resumes_without_running_a_trial_again(
    again: Again, copied: Path, plain: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [r for r in again.told if r.trial.rung in ("full", "deployed", "fit")]
    for record in lost:
        (copied / "records" / f"trial-{record.trial.id}.json").unlink()
    (copied / "records" / "recommendation-final.json").unlink()
    # As a run leaves it that was killed: it has told nothing yet.
    marker = json.loads((copied / "run.json").read_text())
    kept = {key: marker[key] for key in ("schema_number", "settings")}
    (copied / "run.json").write_text(json.dumps({**kept, "status": "started"}))
    (copied / "records" / "run-info.json").unlink()
    took = sum(record.seconds for record in trials_in(copied).values())
    ran = []
    monkeypatch.setattr(local, "run_trial", lambda *args: ran.append(1) or run_trial(*args))
    second = search(plan_search(plain, copied), Silent())
    assert len(ran) == len(lost) > 2
    assert repr(second.inputs.recommendation) == repr(again.found.inputs.recommendation)
    # What the killed run spent is not lost, and counts once.
    costs = [one for one in second.inputs.run.stages if one.resumed]
    assert sum(one.seconds for one in costs) >= took


def test_what_is_added_may_fail_and_the_recommendation_stands(
    found: Found,
    settings: SearchSettings,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("locscope.workflows.search.run.ADDING", (*ADDING[:2], _fails))
        with pytest.raises(MemoryError, match="too large"):
            search(plan_search(settings, copied), Silent())
    assert read_recommendation(copied) == read_recommendation(found.folder)
    assert (copied / "report.html").exists()
    assert not (copied / "scorecard.json").exists()
    assert read_info(copied).status == "unfinished"
    assert "not finished" in (copied / "report.html").read_text(encoding="utf-8")
    costs = {stage.stage for stage in read_info(copied).stages}
    assert "reporting on T" in costs
    assert "audit" not in costs
    # The same command goes on; what was run before counts once.
    last = search(plan_search(settings, copied), Silent())
    names = [one.stage for one in read_info(copied).stages if one.tasks > one.resumed]
    assert names.count("reporting on T") == names.count("audit") == 1
    assert read_info(copied).status == "done"
    assert "not finished" not in (copied / "report.html").read_text(encoding="utf-8")
    assert repr(last.inputs.recommendation) == repr(found.inputs.recommendation)


def _fails(*_: object) -> None:
    raise MemoryError("too large")


def test_recipes_and_audit_can_be_added_later(
    again: Again, plain: SearchSettings, copied: Path
) -> None:
    first = again.found
    assert first.inputs.scorecard is None
    more = plain.model_copy(update={"recipes": ("lora",), "audit": 3})
    second = search(plan_search(more, copied), Silent())
    assert second.inputs.scorecard is not None
    assert recipes_table(second.inputs) != recipes_table(first.inputs)
    assert repr(second.inputs.recommendation) == repr(first.inputs.recommendation)
    third = search(plan_search(plain, copied), Silent())
    assert repr(third.inputs.scorecard) == repr(second.inputs.scorecard)


def test_notes_tell_of_a_single_rate_and_of_what_only_comparison_found() -> None:
    world = World(peak=3, part="mlp.down")
    space = world.space()

    def best(location: str, *factors: float) -> Best:
        start = world.start(location)
        asks = [
            TrialRequest(Location.parse(location), start * factor, space.full) for factor in factors
        ]
        return best_per_location([world.record(ask) for ask in asks], space.objective)[0]

    chosen, inside, edge = best("L5.mlp", 1), best("L4.mlp", 1 / 3, 1, 3), best("L2.mlp", 1 / 9, 1)
    assert [note.partition(":")[0] for note in on_rates([chosen, inside, edge], space)] == [
        "L5.mlp",
        "L2.mlp",
    ]
    better, worse = best("L3.mlp.down", 1), best("L9.attn", 1)
    rules = {"depth-rule": better, "random": worse}
    (note,) = on_controls(chosen, rules, space)
    assert note.startswith("L3.mlp.down (depth-rule) at ")
    assert not list(on_controls(better, rules, space))


def test_weights_come_back_bit_for_bit(again: Again) -> None:
    assert again.weights_kept


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
    again: Again, plain: SearchSettings, copied: Path
) -> None:
    assert {record.trial.id for record in again.told} == set(trials_in(again.found.folder))
    assert again.closed == [len(again.told)] == [len(trials_in(again.found.folder))]
    told, closed = [], []

    @contextmanager
    def tracker() -> Iterator[Listener]:
        yield told.append
        closed.append(len(told))

    search(plan_search(plain, copied), Silent(), tracker=tracker())
    assert closed == [0], "known trials are not told again"


def test_an_edit_set_without_neighbours_gets_them_from_the_other_parts(
    settings: SearchSettings, tmp_path: Path
) -> None:
    rows = json.loads(Path(settings.edits).read_text())
    path = tmp_path / "bare.json"
    path.write_text(json.dumps([{k: r[k] for k in ("prompt", "target")} for r in rows]))
    made = split_edits(settings.model_copy(update={"edits": str(path)}))
    assert not any(edit.neighbours for edit in made.given.edits)
    edits = made.edit_set.edits
    for mine in (made.parts.select, made.parts.validate, made.parts.report):
        lent = {n.prompt for i in mine for n in edits[i].neighbours}
        assert lent
        assert lent <= {edits[i].prompt for i in range(len(edits)) if i not in mine}


def test_more_edits_are_deployed_than_those_of_t(settings: SearchSettings) -> None:
    """Where all that is drawn is reported on, nothing could judge a recipe."""
    refused = []
    for seed in range(12):
        few = settings.model_copy(update={"deploy": 1, "seed": seed})
        _, _, t = parts_of(settings.model_copy(update={"seed": seed}))
        given = split_edits(settings.model_copy(update={"seed": seed})).given.edits
        (drawn,) = first_edits(given, 1, seed)
        if drawn in t:
            refused.append(seed)
            with pytest.raises(UsageError, match=r"--deploy 1: .* all reported on"):
                split_edits(few)
        else:
            split_edits(few)
    assert 0 < len(refused) < 12
