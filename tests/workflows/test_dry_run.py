"""The dry run: asks for what the search then asks for, and writes nothing."""

import json
from collections import Counter
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.execution import teams
from locscope.locations import Location
from locscope.progress import Silent
from locscope.records import Recipe, ScanResult, Trial
from locscope.runs.folder import open_run
from locscope.runs.store import read_record
from locscope.scoring.objectives import objective_of
from locscope.selection.space import TrialRequest
from locscope.selection.strategies import STRATEGIES
from locscope.settings import SearchSettings
from locscope.tuning.trial import run_trial
from locscope.tuning.trial_cost import trial_cost_of
from locscope.workflows.dry_run.memory import memory_of
from locscope.workflows.dry_run.run import dry_run, side_by_side
from locscope.workflows.dry_run.simulated import CostForecast, SimulatedRunner, simulate
from locscope.workflows.dry_run.timing import work_on_paper
from locscope.workflows.publish import Found
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import Plan, plan_search
from locscope.workflows.search.select import control, ran_in_full, ranking, select, space_of
from locscope.workflows.search.stages import Evidence, trials_of


@pytest.fixture(scope="module")
def plan(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_search(settings, tmp_path_factory.mktemp("dry") / "run")


def test_it_asks_for_the_trials_of_the_search(plan: Plan, found: Found) -> None:
    weights = {name: value.clone() for name, value in plan.loaded.model.state_dict().items()}
    said = dry_run(plan, Silent())
    assert not plan.folder.exists()
    after = plan.loaded.model.state_dict()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    taken, expected = Counter[str](), Counter[str]()
    for one in found.inputs.run.stages:
        taken[one.stage] += one.tasks - one.resumed
    for one in said.stages:
        expected[one.stage] += one.tasks
    # Controls that the strategy ran at all rates itself ask for no more.
    assert expected.keys() - {"controls"} == taken.keys() - {"controls"}
    assert expected["rung 1"] == taken["rung 1"]
    # What the trials will say is not known before, so whose rates are tried is not either.
    for stage in taken.keys() - {"rung 1", "controls", "audit"}:
        assert taken[stage] / 2 <= expected[stage] <= 2 * taken[stage] + 1, stage
    assert sum(expected.values()) == pytest.approx(sum(taken.values()), rel=0.3)


def test_its_numbers_are_numbers(plan: Plan, found: Found) -> None:
    said = dry_run(plan, Silent(), opening=1.0)
    runner = LocalTrialRunner(plan, plan.folder / "none", Silent())
    gradient = read_record(found.folder, "scan", "weight-gradient", ScanResult)
    assert gradient is not None
    assert sum(said.kinds.values()) == len(space_of(runner, (gradient,)).candidates)
    assert said.seconds == sum(stage.seconds for stage in said.stages) > 0
    assert said.flops > 0
    assert said.trials == sum(s.tasks for s in said.stages if not s.stage.startswith("scan "))
    assert said.disk > 1 << 20
    assert said.host_peak > 1 << 20
    assert isnan(said.device_peak) == (plan.loaded.model.device.type != "cuda")
    assert all(count > 0 for count in said.memory.values())
    assert list(said.memory)[-1] == "batches of scans"
    assert {"candidates", "trials", "operations", "memory", "disk", "time"} <= {
        line.name for line in said.lines
    }


@pytest.mark.parametrize("budget", [None, "0.1", "100s"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_played_on_paper(
    name: str, budget: str | None, plan: Plan, found: Found
) -> None:
    changed = plan.settings.model_copy(update={"strategy": name, "budget": budget})
    made = replace(plan, settings=changed)
    runner = LocalTrialRunner(made, made.folder / "none", Silent())
    gradient = read_record(found.folder, "scan", "weight-gradient", ScanResult)
    assert gradient is not None
    space = space_of(runner, (gradient,))
    asked = simulate(made, space, (gradient,), lambda trial: CostForecast("", 1, 1.0, 1.0))
    trials = [trial for some in asked.values() for trial in some]
    assert len({trial.id for trial in trials}) == len(trials)
    assert {trial.split for trial in trials} == {"S", "V", "T", "all"}
    assert not made.folder.exists()


@pytest.mark.parametrize("name", ["depth-rule", "random"])
def test_a_control_recommends_what_it_ran_itself(name: str, plan: Plan, found: Found) -> None:
    gradient = read_record(found.folder, "scan", "weight-gradient", ScanResult)
    assert gradient is not None
    runner = LocalTrialRunner(plan, plan.folder / "none", Silent())
    space = space_of(runner, (gradient,))
    paper = SimulatedRunner(plan, space, lambda trial: CostForecast("", 1, 1.0, 1.0))
    evidence = control(paper, select(paper, Evidence(space, (gradient,)), name))
    chosen, controls = evidence.selected, evidence.controls
    ran = {record.trial.location for record in chosen}
    assert {best.location for best in ranking(space, chosen)} == ran
    named = {best.location for best in controls.values()}
    assert named == {space.depth_rule, *space.drawn[: plan.settings.controls]}
    everything = {record.trial.location for record in ran_in_full(chosen, controls)}
    assert everything == ran | named


def test_made_up_records_are_judged_by_the_bounds_in_force(plan: Plan, found: Found) -> None:
    """Also those that were answered before a stage went on within looser bounds; a bound on what is
    learned breaks none on paper."""
    gradient = read_record(found.folder, "scan", "weight-gradient", ScanResult)
    assert gradient is not None
    asked = objective_of("balanced", {}, ["perplexity_ratio<=1.05", "reliability>=0.99"])
    made = replace(plan, objective=asked)
    space = space_of(LocalTrialRunner(made, made.folder / "none", Silent()), (gradient,))
    paper = SimulatedRunner(made, space, lambda trial: CostForecast(trial.rung, 1, 1.0, 1.0))
    trials = trials_of(
        made, [TrialRequest(space.depth_rule, rate, space.full) for rate in (1.0, 3.0)]
    )
    before = [record.violated for record in paper.trials("full", trials)]
    assert [len(broken) for broken in before] == [1, 1]
    assert all("perplexity_ratio" in broken[0] for broken in before)
    looser = [
        replace(b, limit=1.08 if b.measure == "perplexity_ratio" else b.limit) for b in asked.bounds
    ]
    paper.objective = replace(asked, bounds=tuple(looser), bound_margin=0.0)
    again = paper.trials("full", trials)
    assert [len(record.violated) for record in again] == [0, 1]
    (first, second) = (record.measure("perplexity_ratio").value for record in again)
    assert first < 1.08 < second


def test_work_is_counted_from_the_texts(plan: Plan) -> None:
    suite, info = plan.workspace.suite, plan.loaded.info
    packed, block = suite.packed, next(one.parameters for one in info.grid if one.part == "block")
    trial = Trial(
        Location.parse("L1.mlp"), Recipe(1e-3, 3, epochs=2), plan.chosen, "S", "full", 0, "m", "e"
    )
    work = trial_cost_of(suite, info, trial, 1, 7)
    rows = [row for one in suite.of(plan.chosen) for row in one.training]
    tokens = sum(int(packed.lengths[row]) for row in rows)
    scored = sum(int(packed.lengths[row] - packed.answers[row] + 1) for row in rows)
    a_pass = 2 * (tokens * (info.layers - 1) * block + scored * info.vocabulary * info.width)
    assert work.tuning_flops == 2 * 3 * a_pass
    assert work.steps == 2 * -(-len(rows) // 3)
    assert work.updates == 7 * work.steps
    asked = sum(1 + len(q.rephrases) + len(q.neighbours) for q in suite.of(plan.chosen))
    assert work.answers == asked + len(suite.abilities)
    quick = Trial(**{**vars(trial), "quick": True})
    assert trial_cost_of(suite, info, quick, 1, 7).answers == 0


@pytest.mark.parametrize("kind", ["full", "budget", "all"])
def test_recipes_that_tune_everywhere_are_counted_so(plan: Plan, found: Found, kind: str) -> None:
    runner = LocalTrialRunner(plan, plan.folder / "none", Silent())
    space = space_of(runner, [read_record(found.folder, "scan", "weight-gradient", ScanResult)])
    recipe = Recipe(1e-4, 3, kind=kind, epochs=2, skip_below=0.0, stop_below=0.0)
    trial = Trial(Location.parse("L2.mlp.down"), recipe, plan.chosen, "T", "full", 0, "m", "e")
    context = runner.workspace
    paper = work_on_paper(context, space, trial)
    record = run_trial(context, trial).record
    assert paper.updates == paper.steps * record.parameter_count
    flops = paper.tuning_flops + paper.reading_flops
    # Arbitrary weights may by chance spare the lowest layers.
    assert flops >= record.flops if kind == "budget" else flops == pytest.approx(record.flops)
    alone = memory_of(context, space)
    more = memory_of(context, space, (kind,))
    assert (more != alone) == (kind == "all"), "the lowest layer is among the candidates"
    few, many = (memory_of(context, space, (kind,), batch) for batch in (1, 2))
    graphs = [found["activations of a batch"] for found in (few, many)]
    assert graphs[1] / graphs[0] == pytest.approx(2, rel=0.05)


def test_the_command_says_it_and_writes_nothing(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    given = ["--model", str(tiny_dir), "--edits", str(edits_file), "--output", str(tmp_path / "r")]
    more = ["--no-quarters", "--epochs", "3", "--repetitions", "2", "--scans", "weight-gradient"]
    result = CliRunner().invoke(app, ["search", *given, *more, "--dry-run", "--format", "json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert sum(said["kinds"].values()) == 15
    assert said["seconds"] > 0
    assert said["trials"] > 45
    assert not list(tmp_path.iterdir())
    with open_run(tmp_path / "r", {"seed": "1"}):
        pass
    told = CliRunner().invoke(app, ["search", *given, *more, "--dry-run"])
    assert (told.exit_code, told.stdout) == (2, "")
    assert "has other settings: seed 1 -> 0; " in told.stderr
    moved = CliRunner().invoke(app, ["search", *given, *more, "--dry-run", "--fresh"])
    assert moved.exit_code == 0, moved.output


@pytest.mark.parametrize(("workers", "seconds"), [(1, 10.0), (2, 5.0), (3, 4.0), (9, 4.0)])
def test_trials_side_by_side_take_as_long_as_who_ends_last(workers: int, seconds: float) -> None:
    assert side_by_side([4.0, 3.0, 2.0, 1.0], workers) == seconds


def test_worker_processes_are_in_what_it_takes(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    # What other tests registered in this process would keep all trials here.
    monkeypatch.setattr(teams, "only_here", lambda kinds: ())
    made = replace(plan, settings=plan.settings.model_copy(update={"workers": 3}))
    one, said = dry_run(plan, Silent()), dry_run(made, Silent())
    assert (one.workers, said.workers) == (1, 3)
    assert said.host_peak - one.host_peak > said.memory["worker processes"] / 2 > 1 << 29
    assert any("trials in 3 processes" in line.value for line in said.lines)
