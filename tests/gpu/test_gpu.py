"""On a GPU as on the CPU: scans and trials agree, weights come back, a search goes to its end.

Both compute in float32. `LOCSCOPE_GPU=cpu` runs these tests without a GPU: the CPU against itself.
"""

import os
from functools import cache
from math import isnan
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd
import pytest
import torch

from locscope.forward.head import logits
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.models.load import load
from locscope.progress import Silent
from locscope.records import Recommendation, ScanResult, TrialRecord
from locscope.runs.store import read_record
from locscope.scans import SCANS
from locscope.settings import EditSettings, EvaluateSettings, ScanSettings, SearchSettings
from locscope.tuning.recipes import RECIPES
from locscope.workflows.edit import edit, plan_edit, tune
from locscope.workflows.evaluate import evaluate, plan_evaluate
from locscope.workflows.scan import plan_scan, scan
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search

GPU = os.environ.get("LOCSCOPE_GPU", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(GPU == "cuda" and not torch.cuda.is_available(), reason="needs a GPU"),
]
MANY = {"probe": 132}
"""Edits of a scan that cannot tell anything by 8."""
CLOSE = 0.02
"""Of its largest score, what a score may differ by: a float32 sum in another order, and what a
near tie makes of it."""


@cache
def scanned(name: str, device: str) -> ScanResult:
    edits = MANY.get(name, 8)
    settings = ScanSettings(
        **{"scans": (name,), "limit": max(edits, 32), "requests": edits, "steps": 4, "samples": 3},
        **{"device": device, "dtype": "float32"},
    )
    folder = Path(mkdtemp()) / "run"
    return scan(plan_scan(settings, folder, Silent()), Silent()).inputs.scans[0]


def scores(found: ScanResult) -> pd.Series:
    """By variant and place."""
    places = ["variant", "layer", "part", "head", "role"]
    return pd.DataFrame([vars(one) for one in found.scores]).set_index(places)["score"]


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_gives_the_scores_that_it_gives_on_the_cpu(name):
    mine, theirs = scores(scanned(name, GPU)), scores(scanned(name, "cpu"))
    assert not mine.isna().all()
    assert mine.isna().equals(theirs.isna())
    apart = (mine - theirs).abs().groupby("variant").max()
    assert (apart <= CLOSE * theirs.abs().groupby("variant").max()).all(), apart


def tuned(kind: str, device: str, dtype: str = "float32") -> TrialRecord:
    settings = EditSettings(
        **{"location": "L8-9.mlp", "recipe": kind, "lr": 2e-3, "epochs": 3},
        **{"limit": 12, "batch_size": 4, "device": device, "dtype": dtype},
    )
    return edit(plan_edit(settings, None, Path(mkdtemp()) / "model"), Silent())


@pytest.mark.parametrize("kind", [kind for kind in RECIPES if kind != "lofit"])
def test_a_recipe_does_what_it_does_on_the_cpu(kind):
    mine, theirs = tuned(kind, GPU), tuned(kind, "cpu")
    assert [one.loss for one in mine.epochs] == pytest.approx(
        [one.loss for one in theirs.epochs], rel=5e-3
    )
    for name in ("target_probability", "perplexity_ratio"):
        assert mine.measure(name).value == pytest.approx(theirs.measure(name).value, rel=0.01)
    assert mine.change_norm == pytest.approx(theirs.change_norm, rel=1e-3)


def test_bfloat16_learns_as_float32_does():
    mine, theirs = tuned("full", GPU, "bfloat16"), tuned("full", GPU)
    assert [one.loss for one in mine.epochs] == pytest.approx(
        [one.loss for one in theirs.epochs], rel=0.05
    )


def test_the_head_in_bfloat16_sums_in_float32():
    loaded = load("demo", device=GPU, dtype="bfloat16")
    hidden = torch.randn(64, loaded.info.width, device=GPU, dtype=torch.bfloat16)
    weight = loaded.model.get_output_embeddings().weight
    exact = hidden.double() @ weight.double().T
    apart = (logits(loaded.model, hidden).double() - exact).abs().max()
    assert float(apart) <= 1e-5 * float(exact.abs().max())


def test_a_search_is_followed_to_its_end_and_gives_what_it_said(tmp_path):
    settings = SearchSettings(
        **{"limit": 48, "parts": ("mlp",), "quarters": False, "audit": 0, "controls": 1},
        **{"device": GPU, "dtype": "float32", "thorough": False, "repetitions": 1},
    )
    before = load("demo", device=GPU, dtype="float32").model.state_dict()
    plan = plan_search(settings, tmp_path / "run")
    search(plan, Silent())
    after = plan.loaded.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    found = read_record(tmp_path / "run", "recommendation", "final", Recommendation)
    assert found is not None
    assert found.deployment is not None
    record = edit(
        plan_edit(EditSettings(device=GPU, dtype="float32"), plan.folder, tmp_path / "model"),
        Silent(),
    )
    again = evaluate(
        plan_evaluate(EvaluateSettings(model=str(tmp_path / "model"), device=GPU, dtype="float32")),
        Silent(),
    )
    for said in found.deployment.measures:
        for made in (record.measures, again):
            same = next(one for one in made if one.name == said.name)
            assert isnan(said.value) or same.value == pytest.approx(said.value, rel=1e-3)


def test_a_prefix_on_the_host_is_that_on_the_device():
    """In pinned memory where there is a GPU, gathered into pinned memory for every batch."""
    model = load("demo", device=GPU, dtype="float32").model
    rows = [TokenRow(tuple(range(5 + n, 25 + n)), 18) for n in range(40)]
    streams = []
    for budget in (Budget(), Budget(device=0), Budget(device=0, host=0)):
        prefix_cache = PrefixCache(model, pack(rows), budget, tokens_at_once=256)
        prefix_cache.enter(4)
        batch = prefix_cache.batch(range(len(rows)))
        streams.append(prefix_cache.final(batch)[batch.real].cpu())
    assert torch.equal(streams[0], streams[1])
    assert torch.equal(streams[0], streams[2])


@pytest.mark.parametrize("offload", ["prefix", "all"])
def test_a_model_that_is_streamed_to_the_gpu_is_tuned_alike(offload: str) -> None:
    found = []
    for way in ("never", offload):
        settings = EditSettings(
            **{"location": "L6.mlp.down", "lr": 1e-3, "limit": 8, "epochs": 2, "evaluate": "none"},
            **{"device": GPU, "dtype": "float32", "offload": way},
        )
        found.append(tune(plan_edit(settings, None, None), Silent()))
    losses = [[epoch.loss for epoch in one.record.epochs] for one in found]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    (mine,), (theirs,) = (one.changes.values() for one in found)
    assert torch.allclose(mine, theirs, atol=1e-4)
