"""Loading models from directories and the cache, and refusing what cannot be loaded."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import BOS, FAMILIES, save_tiny, tiny, tiny_tokenizer
from safetensors.torch import load_file, save_file
from transformers import LlamaModel
from transformers.utils import logging as hf_logging

from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.models.load import (
    in_memory,
    load,
    pad_id,
    peek,
    pick_device,
    pick_dtype,
    plan,
    stop_ids,
)
from locscope.models.plain_errors import unwritten

TEXT = "The capital of ☃ é\n  is Rome, 1234."


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved llama that tests read only."""
    return save_tiny(tmp_path_factory.mktemp("saved") / "llama", "llama")


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_was_saved_is_loaded_and_peek_knows_it_before(family: str, tmp_path: Path):
    save_tiny(tmp_path, family)
    loaded = load(str(tmp_path), device="cpu")
    expected = dict(FAMILIES[family]().named_parameters())
    found = dict(loaded.model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in found.values())
    assert loaded.tokenizer(TEXT).input_ids == tiny_tokenizer()(TEXT).input_ids
    assert loaded.info.parameters == sum(parameter.numel() for parameter in found.values())
    assert (loaded.info.stored, loaded.info.dtype, loaded.info.device) == ("float32",) * 2 + (
        "cpu",
    )
    ahead = peek(str(tmp_path), device="cpu")
    assert ahead.device == "meta"
    assert replace(ahead, device="cpu") == loaded.info


def test_the_info_is_in_plain_words(saved: Path):
    info = load(str(saved), device="cpu").info
    assert (info.name, info.source, info.family) == (str(saved), "llama", "llama")
    assert (info.layers, info.width, info.heads, info.key_value_heads) == (3, 32, 4, 2)
    assert info.vocabulary == 300
    assert str(info.grid[2].location) == "L0.mlp.down"


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
def test_half_precision_on_disk_becomes_float32_on_the_cpu_unless_asked(
    stored: str, tmp_path: Path
):
    model = tiny("qwen2").to(getattr(torch, stored))
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load(str(tmp_path), device="cpu")
    assert (loaded.info.stored, loaded.info.dtype) == (stored, "float32")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    same = load(str(tmp_path), device="cpu", dtype=stored)
    assert {p.dtype for p in same.model.parameters()} == {getattr(torch, stored)}
    assert peek(str(tmp_path), device="cpu", dtype=stored).dtype == stored


def test_the_dtype_is_as_stored_off_the_cpu():
    assert pick_dtype("auto", torch.device("cuda"), "bfloat16") == "bfloat16"
    assert pick_dtype("auto", torch.device("cuda"), "float64") == "float32"
    assert pick_dtype("auto", torch.device("cpu"), "bfloat16") == "float32"


def test_shards_are_read_and_digested(tmp_path: Path):
    model = FAMILIES["llama"]()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load(str(tmp_path), device="cpu")
    assert torch.equal(loaded.model.lm_head.weight, model.lm_head.weight)
    shards[1].unlink()
    with pytest.raises(UsageError, match=rf"1 of {len(shards)} weight files are missing"):
        load(str(tmp_path))


def _no_config(path: Path) -> None:
    (path / "config.json").unlink()


def _adapter(path: Path) -> None:
    (path / "config.json").rename(path / "adapter_config.json")


def _broken_config(path: Path) -> None:
    (path / "config.json").write_text("{")


def _config_list(path: Path) -> None:
    (path / "config.json").write_text("[]")


def _other_type(path: Path) -> None:
    (path / "config.json").write_text('{"model_type": "vit"}')


def _quantised(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (path / "config.json").write_text(json.dumps(config))


def _no_tokenizer(path: Path) -> None:
    (path / "tokenizer.json").unlink()


def _no_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def _pickles(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def _short(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[:-100])


def _empty(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"")


def _pointer(path: Path) -> None:
    (path / "model.safetensors").write_text("version https://git-lfs\noid sha256:0\nsize 12\n")


def _integers(path: Path) -> None:
    save_file({"w": torch.zeros(9, dtype=torch.int8)}, path / "model.safetensors")


BROKEN: dict[Callable[[Path], None], list[str]] = {
    _no_config: ["no config.json in"],
    _adapter: ["holds an adapter", "merge it"],
    _broken_config: ["cannot read", "config.json"],
    _config_list: ["config.json", "not a JSON object"],
    _other_type: ["model type 'vit'", "is not supported", "no causal language model"],
    _quantised: ["quantised"],
    _no_tokenizer: ["no tokenizer in", "tokenizer.json"],
    _no_weights: ["no weights in", "model.safetensors"],
    _pickles: ["only pickled weights (pytorch_model.bin)", "safetensors"],
    _short: ["cut short"],
    _empty: ["not a whole safetensors file"],
    _pointer: ["model.safetensors' is a Git LFS pointer", "git lfs pull"],
    _integers: ["stored as I8", "cannot be tuned"],
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("verb", [load, peek])
def test_a_directory_that_cannot_be_loaded_is_refused_in_one_line(
    directory: Path, damage: Callable[[Path], None], verb: Callable[[str], object]
):
    damage(directory)
    with pytest.raises(UsageError) as caught:
        verb(str(directory))
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory) in message
    assert all(words in message for words in BROKEN[damage]), message


def test_weights_that_do_not_fit_the_config_are_refused_not_made_up(directory: Path):
    weights = load_file(directory / "model.safetensors")
    lost = weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"do not fit.*model\.layers\.1\.mlp\.up_proj\.weight"):
        load(str(directory))
    weights["model.layers.1.mlp.up_proj.weight"] = lost[:-1].clone()
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=str(directory)):
        load(str(directory))


def test_a_forward_that_fails_is_told_as_the_models_own(
    saved: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object, **__: object) -> None:
        raise IndexError("no such\nrow")

    monkeypatch.setattr(LlamaModel, "forward", fails)
    with pytest.raises(UsageError, match=r"own forward fails.*IndexError no such row$"):
        load(str(saved))


def test_weights_in_memory_that_are_not_finite_are_named():
    model = tiny("llama")
    model.get_parameter("model.layers.1.mlp.up_proj.weight").data[3, 4] = -float("inf")
    with pytest.raises(UsageError, match=r"layers\.1\.mlp\.up_proj\.weight.*in memory.*not finite"):
        in_memory(model, tiny_tokenizer())


def test_a_mask_that_is_infinite_in_half_precision_is_no_weight(tmp_path: Path):
    """As checkpoints of GPT-NeoX in float16 have one: it is a buffer, which nothing loads."""
    folder = save_tiny(tmp_path / "neox", "gptneox")
    path = folder / "model.safetensors"
    name = "gpt_neox.layers.0.attention.masked_bias"
    save_file(
        {**load_file(path), name: torch.tensor(float("-inf"))}, path, metadata={"format": "pt"}
    )
    assert plan(str(folder)).info.layers == load(str(folder)).info.layers


def test_our_own_errors_keep_their_traceback(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("locscope.models.load.digest", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load(str(saved))


def test_unknown_devices_and_dtypes_are_refused(saved: Path):
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        load(str(saved), device="gpu")
    with pytest.raises(UsageError, match="device 'cuda:99' is not on this machine: there is cpu"):
        pick_device("cuda:99")
    with pytest.raises(UsageError, match="unknown dtype 'float31': did you mean float"):
        load(str(saved), dtype="float31")


def test_loading_says_nothing_and_leaves_the_verbosity(
    saved: Path, capfd: pytest.CaptureFixture[str]
):
    before = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    load(str(saved))
    peek(str(saved))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before


def test_padding_is_no_reason_to_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    pad = tiny_tokenizer().pad_token_id
    config = save_tiny(tmp_path, "gpt2") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token_id": pad}))
    loaded = load(str(tmp_path))
    # Once a process is as seldom as never, to a test.
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    run_blocks(loaded.model, torch.tensor([[5, 6, pad]]))
    assert caplog.messages == []


def test_stop_ids_are_gathered_from_generation_config_config_and_tokenizer():
    model, tokenizer = tiny("llama", eos_token_id=[1, 7]), tiny_tokenizer()
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [9, 7]
    assert stop_ids(model, tokenizer) == (1, 7, 9)
    model.generation_config.eos_token_id = 5
    model.config.eos_token_id = None
    assert stop_ids(model, tokenizer) == (1, 5)
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    assert stop_ids(model, tokenizer) == ()


def test_pad_id_leaves_the_tokenizer_alone():
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    assert pad_id(tokenizer, model) == 2
    tokenizer.pad_token = None
    assert pad_id(tokenizer, model) == 1
    assert tokenizer.pad_token is None
    tokenizer.add_special_tokens({"pad_token": "<a pad without an embedding>"})
    assert tokenizer.pad_token_id == 300
    assert pad_id(tokenizer, model) == 1
    tokenizer.eos_token = tokenizer.pad_token = None
    assert pad_id(tokenizer, model) == 0


def test_the_tiny_tokenizer_encodes_any_text():
    tokenizer = tiny_tokenizer()
    for text in [TEXT, "\x00\x7f日本語🙂", "   ", "<bos>"]:
        ids = tokenizer(text).input_ids
        assert ids[0] == 0
        assert tokenizer.decode(ids) == BOS + text
    assert tiny_tokenizer(bos=False)("a").input_ids == tokenizer("a").input_ids[1:]
    assert len(tokenizer) == 300


def test_what_libraries_print_themselves_is_kept_off_both_streams(
    saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """A key that the tokenizers do not know is printed by them, on stdout, where JSON may be."""
    folder = Path(shutil.copytree(saved, tmp_path / "m"))
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    token = {"content": "<bos>", "special": True, "use_cache": 1, "__type": "AddedToken"}
    path.write_text(json.dumps(content | {"bos_token": token}))
    peek(str(folder))
    assert capfd.readouterr() == ("", "")
    with unwritten():
        os.write(1, b"ignored")
        os.write(2, b"panicked")
    os.write(1, b"seen")
    assert capfd.readouterr() == ("seen", "")
