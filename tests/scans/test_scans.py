from importlib import import_module
from pathlib import Path

import pytest
from worlds import same, snapshot, world

import locscope.scans
from locscope.errors import UsageError
from locscope.progress import Silent
from locscope.scans import SCANS, run_scan
from locscope.scans.bench import ScanBench

TWO = pytest.mark.parametrize("family", ["llama", "gpt2"])


def bench_of(one, **changes):
    trunk = one.bench.trunk
    edits = tuple(question.edit.id for question in one.exam.edits)
    return ScanBench(one.bench.loaded, one.exam, trunk, edits, seed=0, progress=Silent())


def test_every_file_has_an_entry_and_every_entry_a_file():
    folder = Path(locscope.scans.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "bench"}
    assert files == {entry.function.split(":")[0].split(".")[-1] for entry in SCANS.values()}
    for name, entry in SCANS.items():
        module, function = entry.function.split(":")
        assert callable(getattr(import_module(module), function))
        assert entry.name == name
        assert entry.title
        assert entry.note
        assert entry.source
        assert entry.cost
        assert entry.sign in (1, -1)


@TWO
@pytest.mark.parametrize("name", SCANS)
def test_a_scan_scores_places_of_the_model_and_leaves_it_as_it_was(family, name):
    one = world(family)
    before = snapshot(one.model)
    result = run_scan(name, bench_of(one))
    assert result.descriptor is SCANS[name]
    assert (result.requests, result.usable) == (3, 3)
    places = {(part.layer, part.part) for part in one.bench.loaded.info.grid}
    for variant in result.variants:
        scored = [s for s in result.scores if s.variant == variant]
        assert {(s.layer, s.part) for s in scored} <= places
        assert all(s.score == s.score for s in scored)
    assert same(one.model, before)
    assert all(p.grad is None and not p.requires_grad for p in one.model.parameters())
    again = run_scan(name, bench_of(one))
    assert again.scores == result.scores


def test_an_unknown_scan_is_named():
    with pytest.raises(UsageError, match="unknown scan 'weight-gradint': did you mean weight-grad"):
        run_scan("weight-gradint", bench_of(world("llama")))
