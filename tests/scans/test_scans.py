from importlib import import_module
from pathlib import Path

import pytest
import torch
from reference.plain_loop import plain_gradients, plain_losses
from worlds import same, snapshot, world

import locscope.scans
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.models.parts import slices, take
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


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "phi3", "gptneox"])
def test_weight_gradients_are_those_of_the_plain_model(family):
    one = world(family)
    found = {
        (s.variant, s.layer, s.part): s.score
        for s in run_scan("weight-gradient", bench_of(one)).scores
    }
    # Rows as they were written: the targets' ones, in the order of the edits.
    rows = [question.target.row for question in one.exam.edits]
    for place in one.bench.loaded.info.grid:
        pieces = slices(one.model, Location.parse(place.location))
        gradients = plain_gradients(one.model, [piece.name for piece in pieces], rows, "right")
        g = torch.cat([take(gradients[piece.name], piece) for piece in pieces])
        w = torch.cat([take(one.model.get_parameter(piece.name), piece) for piece in pieces])
        expected = {
            "norm": g.square().sum().sqrt(),
            "l1": g.abs().sum(),
            "relative-norm": g.norm() / w.norm(),
            "taylor": (w * g).abs().sum(),
        }
        for variant, value in expected.items():
            score = found[variant, place.layer, place.part]
            assert score == pytest.approx(float(value), rel=1e-4), (variant, place)


def test_l1_is_the_loss_change_of_adams_first_step():
    """To first order: every weight moves by the rate against its gradient's sign."""
    one = world("llama")
    l1 = next(
        s.score
        for s in run_scan("weight-gradient", bench_of(one)).scores
        if (s.variant, s.layer, s.part) == ("l1", 1, "mlp.down")
    )
    rows = [question.target.row for question in one.exam.edits]
    (piece,) = slices(one.model, Location.parse("L1.mlp.down"))
    weight, rate = one.model.get_parameter(piece.name), 1e-5
    gradient = plain_gradients(one.model, [piece.name], rows)[piece.name]
    before = float(plain_losses(one.model, rows).mean().double())
    with torch.no_grad():
        weight -= rate * gradient.sign()
    after = float(plain_losses(one.model, rows).mean().double())
    assert before - after == pytest.approx(rate * l1, rel=0.05)
