"""Stages take time linear in the edits; costs on paper are those that torch counts."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import scaling  # noqa: E402
from analyses.bench_scale import write_edits  # noqa: E402
from analyses.bench_scaling import CALIBRATING, ON_CPU, _model, shape_of  # noqa: E402
from analyses.bench_step import prefix_cache_step  # noqa: E402
from analyses.scale_parts.cost import Batch, prefix_flops, step_flops  # noqa: E402
from analyses.scale_parts.growth import by_count, exponent, tables  # noqa: E402
from locscope.edits import _with_ids, read_edits, settled  # noqa: E402
from locscope.edits.rows import Row  # noqa: E402
from locscope.edits.splits import groups  # noqa: E402
from locscope.forward.packed import TokenRow, pack  # noqa: E402
from locscope.forward.prefix_cache import PrefixCache, chunks  # noqa: E402
from locscope.locations import Location  # noqa: E402
from locscope.models.parts import slices  # noqa: E402
from locscope.tuning.master_weights import temporarily_trainable  # noqa: E402

FEW, MANY = 500, 2000
LINEAR, QUADRATIC = MANY / FEW, (MANY / FEW) ** 2


def _reading(given):
    return settled(read_edits(str(given["path"])), None)


def _grouping(given):
    # Not the split: up to 2,048 groups it is fitted exactly, which is quadratic until there.
    groups(given["edits"])


def _of_one_id(given):
    """Published rows that all have the same id."""
    edits = [replace(edit, id="0") for edit in given["edits"]]
    rows = [Row(number, "", {}) for number in range(len(edits))]
    assert len({edit.id for edit in _with_ids("zsre", rows, edits)}) == len(edits)


def _batching(given):
    """The batches of an epoch: steps of 8 rows, of as many as there are."""
    lengths = given["lengths"]
    for start in range(0, len(lengths), 8):
        list(chunks(lengths, range(start, start + 8), 512))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """By count what the stages take."""
    found = {}
    for count in (FEW, MANY):
        path = tmp_path_factory.mktemp("edits") / f"{count}.jsonl"
        write_edits(path, count)
        edits = read_edits(str(path)).edits
        found[count] = {"path": path, "edits": edits, "lengths": torch.full((8 * count,), 20)}
    return found


@pytest.mark.parametrize("stage", [_reading, _grouping, _of_one_id, _batching])
def test_a_stage_takes_four_times_as_long_for_four_times_the_edits(stage, given):
    seconds = {}
    for count in (FEW, MANY):
        times = []
        for _ in range(2):
            began = time.process_time()
            stage(given[count])
            times.append(time.process_time() - began)
        seconds[count] = min(times)
    ratio = seconds[MANY] / seconds[FEW]
    assert ratio < (LINEAR * QUADRATIC) ** 0.5, f"{ratio:.1f}, where {LINEAR:.0f} is linear"


def test_operations_on_paper_are_those_that_torch_counts():
    shape, length, layer = shape_of(4, 128), 24, 1
    torch.manual_seed(0)
    model = _model(shape)
    rows = [TokenRow(tuple(range(3 + i, 3 + i + length)), length - 3, 2) for i in range(16)]
    prefix_cache = PrefixCache(model, pack(rows))
    batch = Batch(len(rows) * length, 4 * len(rows))
    with FlopCounterMode(display=False) as counted:
        prefix_cache.enter(layer)
    assert counted.get_total_flops() == pytest.approx(
        prefix_flops(shape, batch.tokens, layer), rel=0.1
    )
    found = slices(model, Location.at(layer, "mlp.down"))
    with temporarily_trainable(model, found, torch.float32) as masters:
        step = prefix_cache_step(prefix_cache, masters, len(rows))
        with FlopCounterMode(display=False) as counted:
            step()
    assert counted.get_total_flops() == pytest.approx(step_flops(shape, batch, layer), rel=0.1)


def test_exponents_and_the_step_to_the_largest_count():
    counts = (3000, 10_000, 30_000)
    assert exponent(counts, [float(n) for n in counts]) == pytest.approx(1)
    assert exponent(counts, [float(n) ** 2 for n in counts]) == pytest.approx(2)
    found = by_count(
        {f"{n} texts": [{"name": "a", "seconds": n / 1000, "peak": n / 10}] for n in counts}
    )
    lines = [line for line in tables(found) if line.startswith("| a |")]
    assert lines == [
        "| a | 3.00 | 10.00 | 30.00 | 1.00 | +0% |",
        "| a | 300 | 1,000 | 3,000 | 1.00 | +0% |",
    ]


def test_constants_are_found_again(tmp_path, monkeypatch):
    """Of measurements that are what the formulas say of known constants."""
    small = {}
    for group, those in {"calibrating": CALIBRATING, "checked": ((16, 512, 64, 4),)}.items():
        small[group] = []
        for layers, width, count, layer in those:
            shape, tokens = shape_of(layers, width), 24 * count
            one = {"shape": shape._asdict(), "layer": layer, "tokens": tokens}
            one |= {"scored": 4 * count, "pieces": -(-tokens // ON_CPU), "prefix": 1, "step": 1}
            one |= {"at_once": min(tokens, ON_CPU), "bytes": 0}
            made = [1e-11 * f[0] + 1e-3 * f[1] for f, _ in scaling._seconds(one)]
            held = scaling._known(one) + 1.5 * scaling._graph(one) + 20e6
            small[group].append({**one, "prefix": made[0], "step": made[1], "bytes": held})
    seconds, memory = scaling.fitted(small["calibrating"])
    assert seconds == pytest.approx([1e-11, 1e-3])
    assert memory == pytest.approx([1.5, 20.0])
    assert "predicted over measured: 1.00 to 1.00" in scaling.checked(small)[-1]
