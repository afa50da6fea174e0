"""A model that is streamed gives what one in memory gives, bit for bit."""

import re
from pathlib import Path

import pytest
from families import save_tiny, tiny
from killing import content

from locscope.models import load as loading
from locscope.models.load import load
from locscope.models.streaming import way
from locscope.models.streaming.blocks import streaming_of
from locscope.models.streaming.way import SHARE, block_bytes, other_bytes
from locscope.progress import Silent
from locscope.records import ScanResult, TrialRecord
from locscope.runs.store import iterate
from locscope.settings import EditSettings, ScanSettings, SearchSettings
from locscope.tuning import importance
from locscope.workflows.check import check
from locscope.workflows.dry_run.run import dry_run
from locscope.workflows.edit import edit, plan_edit
from locscope.workflows.scan import plan_scan, scan
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search

FAMILIES = ("llama", "gptneox")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints in bfloat16 and in several files, by family."""
    return {name: saved(tmp_path_factory.mktemp("base") / name, name) for name in FAMILIES}


@pytest.fixture
def base(bases: dict[str, Path]) -> Path:
    return bases["llama"]


def saved(folder: Path, family: str) -> Path:
    save_tiny(folder, family)
    (folder / "model.safetensors").unlink()
    model = tiny(family, num_hidden_layers=5)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def edited(base: Path, edits_file: Path, output: Path, **more: object) -> dict[str, bytes]:
    given = {"model": str(base), "edits": str(edits_file), "lr": 1e-3, "epochs": 2}
    plan = plan_edit(EditSettings(**{**given, "batch_size": 4, "limit": 6, **more}), None, output)
    assert (streaming_of(plan.loaded.model) is not None) == (more["offload"] != "never")
    record = edit(plan, Silent())
    numbers = (record.measures, record.outcomes, record.epochs, record.change_norm)
    files = content(output)
    return {**files, "locscope.json": repr(numbers).encode(), "README.md": b""}


@pytest.mark.parametrize(
    ("dtype", "more"),
    [
        ("float32", {"location": "L3.mlp.down", "evaluate": "full"}),
        ("bfloat16", {"location": "L1.attn", "evaluate": "quick"}),
        ("float32", {"location": "L0.mlp.up+L2.block", "evaluate": "none"}),
        ("float32", {"location": "L2.mlp", "evaluate": "none", "recipe": "lora"}),
        ("float32", {"location": "L2.mlp", "evaluate": "none", "recipe": "budget"}),
        ("float32", {"location": "L2.mlp", "evaluate": "none", "recipe": "soft"}),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_of_a_streamed_model_is_that_of_one_in_memory(
    family: str,
    bases: dict[str, Path],
    edits_file: Path,
    tmp_path: Path,
    dtype: str,
    more: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What recipe soft measures the importance of units by, a forward and a backward pass for each.
    monkeypatch.setattr(importance, "TEXTS", 4)
    base, given = bases[family], {**more, "dtype": dtype}
    whole = edited(base, edits_file, tmp_path / "never", **given, offload="never")
    for offload in ("prefix", "all"):
        assert edited(base, edits_file, tmp_path / offload, **given, offload=offload) == whole


SEES_STREAMED = {"weight-gradient", "dropout-kl", "step-forecast", "depth-rule", "random"}


def test_the_scans_of_a_search_are_the_same_or_say_what_they_need(
    base: Path, edits_file: Path, tmp_path: Path
) -> None:
    default = SearchSettings(model="demo", edits=str(edits_file)).scans
    assert {"weight-gradient", "dropout-kl", "logit-lens"} < set(default)
    neutral = tmp_path / "neutral.txt"
    neutral.write_text("The sea is wide.\nIt rains on the hills today.\nBread is made of flour.\n")
    found: dict[str, dict[str, ScanResult]] = {}
    for offload in ("never", "all"):
        names = SEES_STREAMED if offload == "never" else (*default, "step-forecast")
        settings = ScanSettings(
            model=str(base),
            edits=str(edits_file),
            limit=6,
            scans=tuple(names),
            neutral=neutral,
            offload=offload,
        )
        folder = scan(plan_scan(settings, tmp_path / offload, Silent()), Silent()).folder
        results = iterate(folder, "scan", ScanResult)
        found[offload] = {one.descriptor.name: one for one in results}
    mine, theirs = found["all"], found["never"]
    assert mine.keys() > theirs.keys() == SEES_STREAMED
    for name in SEES_STREAMED:
        assert len(mine[name].scores) >= 5
        assert repr((mine[name].scores, mine[name].notes)) == repr(
            (theirs[name].scores, theirs[name].notes)
        )
    # These are too few edits for a probe, which says that first.
    for name in mine.keys() - SEES_STREAMED - {"probe"}:
        (note,) = mine[name].notes
        assert "needs the whole model on the device, and this one is streamed" in note
        assert not mine[name].scores


@pytest.mark.slow
def test_a_search_of_a_streamed_model_recommends_what_one_in_memory_does(
    base: Path, edits_file: Path, tmp_path: Path
) -> None:
    wanted: dict[str, object] = {"parts": ("mlp.down",), "finalists": 1, "repetitions": 2}
    wanted |= {"audit": 0, "epochs": 2, "scans": ("weight-gradient",), "thorough": False}
    found: dict[str, dict[str, str]] = {}
    for offload in ("never", "prefix", "all"):
        settings = SearchSettings(
            **{"model": str(base), "edits": str(edits_file), "offload": offload, **wanted},
            workers=2 if offload == "all" else 1,
        )
        plan = plan_search(settings, tmp_path / offload)
        assert plan.frozen == plan_search(settings, tmp_path / "same").frozen
        folder = search(plan, Silent()).folder
        found[offload] = {
            repr(one.trial): repr((one.measures, one.outcomes, one.epochs))
            for one in iterate(folder, "trial", TrialRecord)
        }
    assert len(found["never"]) > 5
    assert found["prefix"] == found["never"]
    assert found["all"] == found["never"]


@pytest.mark.parametrize(
    ("offload", "says", "tail"),
    [
        ("auto", "in memory", False),
        ("prefix", r"streamed prefix for locations from L0 on: 0\.00 GiB of blocks pass", True),
        ("all", r"streamed tail for locations from L0 to L4: up to 0\.00 GiB of blocks", True),
    ],
)
def test_check_and_the_dry_run_say_which_way_a_model_runs(
    base: Path, edits_file: Path, tmp_path: Path, offload: str, says: str, tail: bool
) -> None:
    settings = SearchSettings(
        model=str(base),
        edits=str(edits_file),
        offload=offload,  # pyright: ignore[reportArgumentType]
        parts=("mlp",),
        strategy="depth-rule",
    )
    lines = {line.name: line.value for line in check(settings).lines}
    assert re.match(says, lines["runs"])
    assert ("streamed blocks" in lines["memory"]) == tail
    said = dry_run(plan_search(settings, tmp_path / "run"), Silent())
    lines = {line.name: line.value for line in said.lines}
    assert re.match(says, lines["runs"])
    assert ("tail" in said.memory) == tail


def test_what_does_not_fit_is_streamed_unasked(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a device with little free memory; the tail is held as far as it fits."""
    sizes = block_bytes(load(str(base), offload="never").model, 4)
    others = other_bytes(load(str(base), offload="never").model, 4)
    enough = (others + 2 * max(sizes) + sum(sizes[3:])) / SHARE + 1
    for free, held in ((enough, 3), (enough - sizes[4] / 2, 4), (10.0, 5)):
        monkeypatch.setattr(way, "free_bytes", lambda _, free=free: free)
        monkeypatch.setattr(loading, "free_bytes", lambda _, free=free: free)
        streaming = streaming_of(load(str(base), dtype="float32", activations=0.0).model)
        assert streaming is not None
        assert streaming.held_from == held
        # Computed as it is stored a model runs from the mapped files, on a CPU.
        assert streaming_of(load(str(base), dtype="bfloat16").model) is None
        assert streaming_of(load(str(base), offload="never").model) is None
