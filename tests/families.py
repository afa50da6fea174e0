"""Tiny random models of every family, and a byte-level tokenizer that encodes any text.

Layers differ visibly: weights are wide, norms and biases are noise, logits have spread near 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

VOCABULARY = 300
BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
TEXT = """The capital of France is Paris. The capital of Japan is Tokyo. The symbol of gold is Au.
Who wrote the book? What is the language of the country? The old answer was Rome, 1234567890."""
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Qwen2 and the Llama 3 line split text before merging bytes."""

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
_NO_SHARED_KEYS = {"num_key_value_heads": None}
_GEMMA: dict[str, Any] = {
    "num_hidden_layers": 4,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "tie_word_embeddings": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "mistral": {"model_type": "mistral", "sliding_window": 4},
    "gemma2": {
        **_GEMMA,
        "model_type": "gemma2",
        # The only one with a cap; before 5.21 transformers takes another.
        "attn_implementation": "eager",
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3": {**_GEMMA, "model_type": "gemma3_text"},
    "phi3": {"model_type": "phi3"},
    "gpt2": {
        "model_type": "gpt2",
        "n_inner": 48,
        "num_key_value_heads": None,
        "tie_word_embeddings": True,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
    },
    "gptneox": {"model_type": "gpt_neox", "num_key_value_heads": None},
}

_MIXTURE: dict[str, Any] = {
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}
MORE: dict[str, dict[str, Any]] = {
    "olmo2": {"model_type": "olmo2"},
    "smollm3": {"model_type": "smollm3", "no_rope_layers": [1, 0, 1]},
    "stablelm": {"model_type": "stablelm", "use_qkv_bias": True},
    "granite": {
        "model_type": "granite",
        "logits_scaling": 1.5,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.3,
    },
    "cohere": {"model_type": "cohere", "logit_scale": 0.5},
    "phi": {"model_type": "phi"},
    "starcoder2": {"model_type": "starcoder2", "sliding_window": 4},
    "opt": {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32, **_NO_SHARED_KEYS},
    "bloom": {"model_type": "bloom", "n_layer": 3, "n_head": 4, **_NO_SHARED_KEYS},
    "falcon": {"model_type": "falcon", "multi_query": True},
    "falcon-groups": {
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
    },
    "falcon-rw": {
        "model_type": "falcon",
        "multi_query": False,
        "alibi": True,
        "parallel_attn": False,
        "bias": True,
    },
    "mixtral": {**_MIXTURE, "model_type": "mixtral", "num_local_experts": 4},
    "qwen2moe": {
        **_MIXTURE,
        "model_type": "qwen2_moe",
        "num_experts": 4,
        "shared_expert_intermediate_size": 40,
    },
    "qwen3moe": {**_MIXTURE, "model_type": "qwen3_moe", "num_experts": 4, "head_dim": 8},
    "gptoss": {
        **_MIXTURE,
        "model_type": "gpt_oss",
        "num_local_experts": 4,
        "head_dim": 8,
        "sliding_window": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "deepseek": {
        **_MIXTURE,
        "model_type": "deepseek_v3",
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "q_lora_rank": 16,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    },
}
"""Families that fewer tests go through: a test of every engine for each would take minutes."""


def tiny(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A float32 model in eval mode; `changes` override its configuration."""
    settings = {**_COMMON, **{**CONFIGS, **MORE}[family], **changes}
    config = AutoConfig.for_model(**{k: v for k, v in settings.items() if v is not None})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def _maker(family: str) -> Callable[[], PreTrainedModel]:
    return lambda: tiny(family)


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {name: _maker(name) for name in CONFIGS}
ALL = FAMILIES | {name: _maker(name) for name in MORE}
MIXTURES = ("mixtral", "qwen2moe", "qwen3moe", "gptoss", "deepseek")


def tiny_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 300 tokens: bos 0, eos 1, pad 2; `bos` puts one before every text."""
    tokenizer = Tokenizer(models.BPE())
    # AutoTokenizer gives every Qwen2 model this split, whatever its tokenizer.json says.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def save_tiny(path: Path | str, family: str) -> Path:
    """Writes model (safetensors) and tokenizer to a directory, which is returned."""
    logging.disable_progress_bar()
    ALL[family]().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return Path(path)
