"""Folders of the size of real models, of zeros that take no disk: what `check` says of them comes
within seconds, and takes little memory."""

import json
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from families import tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from locscope.errors import UsageError
from locscope.models.load import peek

LLAMA: dict[str, Any] = {
    **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336},
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta": 500000.0},
    **{"bos_token_id": 0, "eos_token_id": 1, "dtype": "bfloat16", "tie_word_embeddings": False},
}
"""As Llama 3 of 8 billion weights."""
INNER: dict[str, Any] = {
    **{"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240},
    **{"num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4},
    **{"head_dim": 256, "vocab_size": 262208, "max_position_embeddings": 131072},
    **{"sliding_window": 1024, "query_pre_attn_scalar": 256, "eos_token_id": 1},
}
GEMMA: dict[str, Any] = {
    **{"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
    **{"text_config": INNER, "dtype": "bfloat16", "eos_token_id": 1, "mm_tokens_per_image": 256},
    "vision_config": {
        **{"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304},
        **{"num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 896},
        **{"patch_size": 14, "vision_use_head": False},
    },
}
"""As Gemma 3 of 4 billion weights, which sees images too."""


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a checkpoint of that configuration has."""
    made = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made)
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if made.get_text_config().tie_word_embeddings:
        found.pop("lm_head.weight", None)
    return found


def sparse(folder: Path, config: dict[str, Any], shards: int) -> Path:
    """A folder with such a model in bfloat16: headers, and holes in place of all numbers."""
    folder.mkdir()
    tiny_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found, weight_map = sorted(shapes(config).items()), dict[str, str]()
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        end = _write(folder / name, found[shard::shards])
        weight_map |= dict.fromkeys((key for key, _ in found[shard::shards]), name)
        assert (folder / name).stat().st_blocks * 512 < 1 << 20 < end
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _write(path: Path, tensors: list[tuple[str, tuple[int, ...]]]) -> int:
    header, end = dict[str, Any](), 0
    for name, shape in tensors:
        size = 2
        for count in shape:
            size *= count
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return end


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sparse(tmp_path_factory.mktemp("large") / "llama", LLAMA, 4)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sparse(tmp_path_factory.mktemp("large") / "gemma", GEMMA, 2)


def test_a_model_of_eight_billion_is_looked_at_without_its_weights(llama: Path) -> None:
    began = time.process_time()
    info = peek(str(llama), device="cpu", dtype="bfloat16")
    assert time.process_time() - began < 10
    assert (info.layers, info.width, info.parameters) == (32, 4096, 8_030_261_248)
    assert (info.stored, len({one.layer for one in info.grid})) == ("bfloat16", 32)
    (llama / "model-00003-of-00004.safetensors").rename(llama / "elsewhere")
    try:
        with pytest.raises(UsageError, match=r"1 of 4 weight files are missing.*00003"):
            peek(str(llama))
    finally:
        (llama / "elsewhere").rename(llama / "model-00003-of-00004.safetensors")


def test_a_model_of_several_parts_is_looked_at_as_its_language_model(gemma: Path) -> None:
    info = peek(str(gemma), device="cpu", dtype="bfloat16")
    assert (info.layers, info.width, info.heads) == (34, 2560, 8)
    assert {one.layer for one in info.grid} == set(range(34))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_check_of_a_large_model_takes_little(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["check", "--model", str(folder), "--edits", "demo", "--dtype", "bfloat16"]
    done = subprocess.run(
        [sys.executable, "-m", "locscope", *words], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "memory" in done.stdout
    assert after.ru_utime - before.ru_utime < 60
    assert after.ru_maxrss < 1_200_000, f"{after.ru_maxrss} KiB"
