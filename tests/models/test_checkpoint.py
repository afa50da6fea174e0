"""The digest of a checkpoint."""

import json
from pathlib import Path

import pytest
from families import save_tiny
from safetensors.torch import load_file, save_file

from locscope.models import checkpoint


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A saved llama."""
    return save_tiny(tmp_path, "llama")


@pytest.mark.parametrize("whole", [2**30, 0])
def test_the_digest_sees_every_tensor_and_the_config_but_not_the_version(
    directory: Path, whole: int
):
    def now() -> str:
        return checkpoint.digest(checkpoint.read_checkpoint(directory), whole)

    first = now()
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"transformers_version": "9"}))
    assert now() == first
    seen = {first}
    weights = load_file(directory / "model.safetensors")
    for name in weights:
        changed = {k: v.clone() for k, v in weights.items()}
        changed[name].view(-1)[-1] += 1
        save_file(changed, directory / "model.safetensors", {"format": "pt"})
        seen.add(now())
    assert len(seen) == 1 + len(weights)
    (directory / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert now() not in seen


def test_sampled_blocks_of_a_large_tensor_reach_every_row_block_of_a_head():
    rows, row = 4096, 8192
    starts = checkpoint._offsets(rows * row)
    assert len(starts) == checkpoint.SAMPLES
    assert starts[0] == 0
    assert starts[-1] + checkpoint.SAMPLE == rows * row
    assert 2 * row <= checkpoint.SAMPLE  # so a whole row, with the columns of every head
    hit = {start // row // 128 for start in starts}
    assert hit == set(range(32))  # 32 heads of 128 rows


def test_every_tensor_is_seen_once_while_it_is_read(tmp_path):
    folder = save_tiny(tmp_path / "m", "llama")
    read, seen = checkpoint.read_checkpoint(folder), {}

    def look(name, tensor, content):
        assert name not in seen
        seen[name] = (tensor.shape, bytes(content))

    assert checkpoint.digest(read, look=look) == checkpoint.digest(read)
    held = load_file(folder / "model.safetensors")
    assert seen.keys() == held.keys()
    for name, (shape, content) in seen.items():
        assert (shape, content) == (tuple(held[name].shape), held[name].numpy().tobytes())
    seen.clear()
    checkpoint.digest(read, whole=10, look=look)
    assert seen == {}
