"""Scans, measures, strategies and formats of one's own, and experiments that no search makes."""

import doctest
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from families import save_tiny
from towns import edit_rows

import locscope
from locscope import plugins
from locscope.api import extending, opening
from locscope.edits.formats import FORMATS
from locscope.errors import UsageError
from locscope.evaluation.measures import MEASURES
from locscope.scans import SCANS
from locscope.scoring.bounds import REGISTERED
from locscope.selection.strategies import STRATEGIES
from locscope.tuning.recipes import RECIPES

TABLES = (FORMATS, MEASURES, RECIPES, SCANS, STRATEGIES)
SMALL = {
    **{"parts": ("mlp.down",), "quarters": False, "audit": 0, "thorough": False, "controls": 1},
    **{"repetitions": 1, "validations": 1, "epochs": 2, "progress": False},
}


@pytest.fixture(autouse=True)
def tables_as_before(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)
    REGISTERED.clear()
    plugins.load_plugins.cache_clear()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", "llama")


@pytest.mark.parametrize(
    "function",
    [
        *(extending.register_format, extending.register_measure, extending.register_recipe),
        *(extending.register_scan, extending.register_strategy, opening.open_experiment),
    ],
    ids=lambda function: function.__name__,
)
def test_every_example_is_right(function):
    names = {"example": SimpleNamespace(SMALL={**SMALL, "limit": 24})}
    examples = doctest.DocTestFinder(recurse=False).find(function, globs=names)
    assert any(example.examples for example in examples)
    runner = doctest.DocTestRunner()
    assert all(runner.run(example).failed == 0 for example in examples)


METHODS = [
    *("scan_context", "first", "starting_rate", "trial", "run", "recorded", "finalists"),
    *("held_out", "choose", "to_pandas"),
]


def test_the_examples_of_an_experiments_methods_are_right(tiny):
    with locscope.open_experiment(tiny, edit_rows(), output="lab", **SMALL) as lab:
        for name in METHODS:
            method = getattr(locscope.Experiment, name)
            found = doctest.DocTestFinder(recurse=False).find(method, name, globs={"lab": lab})
            assert any(example.examples for example in found), name
            runner = doctest.DocTestRunner()
            assert all(runner.run(example).failed == 0 for example in found), name
    public = {name for name, one in vars(locscope.Experiment).items() if callable(one)}
    assert {name for name in public if not name.startswith("_")} == set(METHODS)


def test_a_researchers_own_experiment_is_short(tiny):
    """A scan, a measure and a strategy of one's own, used together by name."""

    @locscope.register_scan("spectral-norm", note="large: a small step changes much", passes="0")
    def spectral_norm(context):
        layers = context.loaded.model.model.layers
        norms = (torch.linalg.matrix_norm(layer.mlp.down_proj.weight, 2) for layer in layers)
        return {f"L{i}.mlp.down": float(norm) for i, norm in enumerate(norms)}

    @locscope.register_measure("longest_answer", note="characters of the longest answer")
    def longest_answer(now, before):
        return max((len(answer.text) for answer in now.answers), default=0)

    @locscope.register_strategy("by-spectral-norm")
    def by_spectral_norm(space, records):
        scan = next(scan for scan in space.scans if scan.descriptor.name == "spectral-norm")
        best = sorted(scan.scores, key=lambda score: -score.score)[:2]
        locations = [f"L{score.layer}.{score.part}" for score in best]
        return () if records else tuple(space.request(location) for location in locations)

    run = locscope.search(
        tiny,
        edit_rows(),
        output="run",
        strategy="by-spectral-norm",
        scans=("spectral-norm",),
        bounds=("longest_answer<=0",),
        **SMALL,
    )

    scores = run.scans[run.scans["scan"] == "spectral-norm"].set_index("location")["score"]
    asked = [stage.tasks for stage in run.inputs.run.stages if stage.stage == "full"]
    assert sum(asked) == 2, "the strategy's trials, and no others"
    assert set(scores.nlargest(2).index) <= set(run.trials(rung="full")["location"])
    assert "longest_answer" in set(run.measures["measure"])
    assert any("longest_answer" in broken for broken in run.recommendation.record.missed)
    assert run.recommendation.location in set(scores.nlargest(2).index)


def test_an_experiment_runs_its_trials_once(tiny, monkeypatch):
    settings = {**SMALL, "output": "mine"}
    with locscope.open_experiment(tiny, edit_rows(), **settings) as lab:
        location = lab.space.candidates[0].location
        trials = [
            lab.trial(location),
            lab.trial(location, 1e-3, edits=lab.report, name="on T", order="depth-first"),
        ]
        first = lab.run(trials)
        assert [record.trial.split for record in first] == ["S", "T"]
        assert first[0].trial.recipe.lr == lab.space.of(location).lr
        assert first[1].trial.recipe.order == "depth-first"
        assert list(lab.to_pandas(first)["rung"]) == ["full", "on T"]
        assert set(lab.select) | set(lab.validate) | set(lab.report) == {
            edit.id for edit in lab.edits.edits
        }
    monkeypatch.setattr("locscope.execution.local.run_trial", None)
    with locscope.open_experiment(tiny, edit_rows(), **settings) as lab:
        assert repr(lab.run(trials)) == repr(first)


def test_an_experiment_validates_a_choice_and_holds_it_out(tiny):
    with locscope.open_experiment(
        tiny, edit_rows(), output="mine", **SMALL | {"repetitions": 2}
    ) as lab:
        tried = [lab.trial(place.location, choosing=True) for place in lab.space.candidates]
        assert lab.recorded(tried) == ()
        on_s = lab.run(tried)
        assert repr(lab.recorded(tried)) == repr(on_s)
        with pytest.raises(UsageError, match="trials named 'full': there is none"):
            lab.finalists(())
        finalists = lab.finalists(on_s)
        assert {finalist.location for finalist in finalists} <= {t.location for t in tried}
        assert all(set(r.trial.edits) <= set(lab.validate) for f in finalists for r in f.on_v)
        held_out = lab.held_out(finalists[0].best.record)
        assert [record.trial.split for record in held_out] == ["T", "T"]
        assert all(set(record.trial.edits) <= set(lab.report) for record in held_out)
        assert {record.trial.recipe for record in held_out} == {
            finalists[0].best.record.trial.recipe
        }


def test_an_experiment_tells_subsets_and_starting_rates(tiny):
    with locscope.open_experiment(tiny, edit_rows(), output="mine", **SMALL) as lab:
        assert set(lab.first(2)) < set(lab.first(4)) <= set(lab.select)
        assert tuple(lab.edits.edits[i].id for i in lab.split.report) == lab.report
        place = lab.space.candidates[0]
        trial = lab.trial(place.location, 1.0)
        assert lab.starting_rate(trial) == pytest.approx(place.lr, rel=5e-3)
        one, two = (lab.starting_rate(trial, nats) for nats in (1.0, 2.0))
        assert two == pytest.approx(2 * one)


def test_a_name_that_is_taken_is_refused_and_ones_own_may_be_written_again():
    with pytest.raises(UsageError, match="a scan 'random' already"):
        locscope.register_scan("random")(lambda context: {})
    for _ in range(2):
        locscope.register_scan("mine")(spread)
    assert "mine" in locscope.list_scans().index


def test_functions_of_one_name_are_told_apart():
    def made(value):
        def score(context):
            return {"L0.mlp": value}

        return score

    locscope.register_scan("a")(made(1.0))
    locscope.register_scan("b")(made(2.0))
    values = [locscope.scan("demo", "demo", scans=[n], limit=4).top(1)["score"][0] for n in "ab"]
    assert values == [1.0, 2.0]
    with pytest.raises(UsageError, match="a scan 'random' already"):
        locscope.register_scan("random")(made(9.0))
    assert locscope.scan("demo", "demo", scans=["a"], limit=4).top(1)["score"][0] == 1.0


def test_a_strategy_that_cannot_be_gone_by_is_refused(tiny):
    settings = {**SMALL, "output": "none"}
    locscope.register_strategy("none")(lambda space, records: ())
    with pytest.raises(UsageError, match="'none' ran no location in full"):
        locscope.search(tiny, edit_rows(), strategy="none", **settings)
    locscope.register_strategy("again")(
        lambda space, records: (space.request(space.candidates[0].location),)
    )
    with pytest.raises(UsageError, match="'again' asks again"):
        locscope.search(tiny, edit_rows(), strategy="again", **{**settings, "output": "again"})


def test_a_trial_that_makes_no_sense_is_refused(tiny):
    with locscope.open_experiment(tiny, edit_rows(), **{**SMALL, "output": "mine"}) as lab:
        location = lab.space.candidates[0].location
        with pytest.raises(UsageError, match=r"candidate 'L7\.mlp'"):
            lab.trial("L7.mlp")
        with pytest.raises(UsageError, match="no edit 'nobody'"):
            lab.trial(location, edits=["nobody"])
        with pytest.raises(UsageError, match="field of a recipe 'epoch'"):
            lab.trial(location, epoch=2)
        with pytest.raises(UsageError, match="prefixes is settled"):
            lab.trial(location, prefixes=3)


def spread(context):
    return {"L0-1.mlp": 1.0}


def test_a_scan_of_ranges_is_refused(tiny):
    locscope.register_scan("mine")(spread)
    with pytest.raises(UsageError, match=r"L0-1\.mlp has several"):
        locscope.scan(tiny, edit_rows()[:4], scans=["mine"])


def plugin_of(tmp_path: Path, monkeypatch, code: str) -> None:
    (tmp_path / "my_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_plugin", raising=False)
    point = EntryPoint("mine", "my_plugin:register", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    plugins.load_plugins.cache_clear()


def test_a_package_adds_through_its_entry_point(tmp_path, monkeypatch):
    code = (
        "import locscope\n\n"
        "def register():\n"
        "    @locscope.register_strategy('from-a-package', note='of another package')\n"
        "    def ask(space, records):\n"
        "        return ()\n"
        "    @locscope.register_recipe('recipe-of-a-package', note='of another package')\n"
        "    def parts(recipe_input):\n"
        "        return ()\n"
    )
    plugin_of(tmp_path, monkeypatch, code)
    assert locscope.list_strategies().loc["from-a-package", "note"] == "of another package"
    assert locscope.list_recipes().loc["recipe-of-a-package", "note"] == "of another package"


def test_a_package_that_fails_is_named(tmp_path, monkeypatch):
    plugin_of(tmp_path, monkeypatch, "def register():\n    raise KeyError('no')\n")
    with pytest.raises(UsageError, match="plugin mine of my_plugin:register cannot be loaded"):
        locscope.list_scans()
