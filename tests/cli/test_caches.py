"""`locscope cache`, and runs that begin where an earlier one ended."""

import json
from pathlib import Path

import pytest
import torch
from families import save_tiny
from safetensors.torch import load_file
from towns import edit_rows
from typer.testing import CliRunner, Result

from locscope.cli.app import app
from locscope.forward import prefix_cache

ROWS, LR = 20, "1e-3"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_listed_and_cleared(cache: Path) -> None:
    assert "0.0 KiB" in run("cache").stdout
    for name in ("prefix/a.safetensors", "prefix/b.safetensors", "edits/edits-1.json"):
        path = cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1 << 20))
    listed = run("cache", "list").stdout
    assert "2 files, 2.0 MiB" in listed
    assert "1 file, 1.0 MiB" in listed
    rows = json.loads(run("cache", "list", "edits", "--format", "json").stdout)["list"]
    assert [(row["kind"], row["size"]) for row in rows] == [("edits", 1 << 20)]
    assert len(json.loads(run("cache", "clear", "--format", "json").stdout)["clear"]) == 2
    assert [one.name for one in cache.rglob("*") if one.is_file()] == ["edits-1.json"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("cache", "clera"), "unknown action 'clera': did you mean clear?"),
        (("cache", "clear", "prefx"), "did you mean prefix?"),
    ],
)
def test_a_slip_is_told(words: tuple[str, ...], named: str, cache: Path) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert named in result.stderr


def test_a_second_edit_begins_at_its_layer_and_gives_the_same(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, edits = save_tiny(tmp_path / "tiny", "llama"), tmp_path / "edits.json"
    edits.write_text(json.dumps(edit_rows(ROWS)))
    given = ["edit", "--model", str(model), "--edits", str(edits), "--location", "L2.mlp.down"]
    given += ["--lr", LR, "--epochs", "2", "--no-evaluate", "--delta"]
    starts: list[int] = []
    own = prefix_cache.run_blocks

    def seen(model, ids, start=0, *more):
        starts.append(start)
        return own(model, ids, start, *more)

    monkeypatch.setattr(prefix_cache, "run_blocks", seen)
    from_layer_0 = []
    for name, more in {"without": (), "cold": ("--prefix-cache", "1")}.items():
        assert run(*given, str(tmp_path / f"{name}.safetensors"), *more).exit_code == 0
        from_layer_0.append(starts.count(0))
        starts.clear()
    assert all(from_layer_0)
    warm = run(*given, str(tmp_path / "warm.safetensors"), "--prefix-cache", "1")
    assert warm.exit_code == 0
    assert 0 not in starts
    names = ("without", "cold", "warm")
    tensors = [load_file(tmp_path / f"{name}.safetensors") for name in names]
    assert all(torch.equal(one[name], tensors[0][name]) for one in tensors for name in one)
