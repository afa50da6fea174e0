"""What a configuration says, held against the weights before any model is made of it.

Needs no torch. A size that no stored tensor has is refused here, so that nothing is allocated or
repeated by it; the shapes of all tensors are compared later, on a model without memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from locscope.errors import UsageError, shown
from locscope.models.weights import Tensors
from locscope.runs.reading import leaves

LAYERS = ("num_hidden_layers", "n_layer")
SIZES = (
    *("hidden_size", "intermediate_size", "head_dim", "vocab_size", "n_embd", "n_inner"),
    *("num_attention_heads", "num_key_value_heads", "n_head", "num_labels"),
)
"""None is larger than the widest tensor. By `num_labels` Hugging Face makes a name for each."""
LENGTHS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "sliding_window"),
    "original_max_position_embeddings",
)
OPTIONAL = (
    *("num_key_value_heads", "head_dim", "n_inner", "sliding_window", "num_labels"),
    "original_max_position_embeddings",
)
"""Keys that may be null."""
POSITIVE = (
    *("rope_theta", "rope_local_base_freq", "rotary_emb_base", "factor", "query_pre_attn_scalar"),
    *("attn_logit_softcapping", "final_logit_softcapping", "low_freq_factor", "high_freq_factor"),
)
EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon")
SHARES = ("partial_rotary_factor", "rotary_pct")
FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_parallel_residual")
ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Any other than the two built in may be code that is fetched from the hub and run."""
NAMES = (
    *("dtype", "torch_dtype", "rope_type", "hidden_act", "hidden_activation"),
    *("activation_function", *ATTENTION),
)
"""What else no object or list can stand for."""
DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")

LONGEST = 2**30
"""Tokens of a context, far above any model's."""
_LARGEST = 1e12


def check_config(path: Path, config: dict[str, Any], shards: dict[Path, Tensors]) -> None:
    """Raises UsageError for the first key that no model with these weights can have."""
    tensors = [tensor for shard in shards.values() for tensor in shard.values()]
    widest = max((n for tensor in tensors for n in tensor.shape), default=1)
    # Models that were saved without a window have one of 0, beside a key that says so.
    windowless = {"sliding_window": 0, "use_sliding_window": False}.items() <= config.items()
    for key, value in leaves(config):
        if windowless and key == "sliding_window":
            continue
        wrong = _wrong(key.rpartition(".")[2], value, len(tensors), widest)
        if wrong:
            raise UsageError(f"cannot use '{path}': {shown(key)} is {shown(value)}, {wrong}")
    for key in _objects(config):
        name = key.rpartition(".")[2]
        if name in (*LAYERS, *SIZES, *LENGTHS, *EPSILONS, *NAMES):
            raise UsageError(f"cannot use '{path}': {shown(key)} is neither a number nor a text")
    _check_text_config(path, config)
    inner = text_config(config)
    _check_heads(path, inner)
    for part in (config, inner):
        _check_token_ids(path, part, inner.get("vocab_size"))


def check_generation(path: Path, config: dict[str, Any], generation: dict[str, Any]) -> None:
    """Raises UsageError for a stop token of the generation config that the model has not."""
    stops = {key: generation[key] for key in ("eos_token_id",) if key in generation}
    _check_token_ids(path, stops, text_config(config).get("vocab_size"))


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that describes the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _wrong(name: str, value: Any, tensors: int, widest: int) -> str:
    """What is wrong with the value of a key of that name; empty where nothing is."""
    if name in LAYERS:
        return _not_whole(value, tensors, "which is more layers than there are tensors")
    if value is None and (name in OPTIONAL or name not in (*SIZES, *LENGTHS)):
        return ""
    if name in LENGTHS:
        return _not_whole(value, LONGEST, "more tokens than any model can read")
    if name in SIZES:
        return _not_whole(value, widest, f"and the widest of the weights is {widest}")
    if name in ("dtype", "torch_dtype"):
        plain = value.removeprefix("torch.") if isinstance(value, str) else value
        return "" if plain in DTYPES else f"none of {', '.join(DTYPES)}"
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1.0
    allowed = {
        "not a positive number": name not in POSITIVE or 0 < number < _LARGEST,
        "not a number from 0 to 1": name not in EPSILONS or 0 <= number < 1,
        "not a share from 0 to 1": name not in SHARES or 0 < number <= 1,
        "neither true nor false": name not in FLAGS or isinstance(value, bool),
        "neither eager nor sdpa (remove the key)": name not in ATTENTION
        or value in ("eager", "sdpa"),
        "and only true is of use": name != "return_dict" or value is True,
    }
    return next((words for words, right in allowed.items() if not right), "")


def _not_whole(value: Any, most: int, why: str) -> str:
    if type(value) is not int or value < 1:
        return "not a whole number from 1 up"
    return why if value > most else ""


def _objects(value: Any) -> Iterator[str]:
    """The keys of every object and list inside an object."""
    waiting = [("", value)]
    while waiting:
        outer, value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        found = [(f"{outer}.{k}" if outer else str(k), v) for k, v in inner]
        found = [(key, v) for key, v in found if isinstance(v, dict | list)]
        yield from (key for key, _ in found)
        waiting += found


def _check_text_config(path: Path, config: dict[str, Any]) -> None:
    kind, inner = config.get("model_type"), config.get("text_config")
    # Only models of several parts have one; elsewhere it would replace what stands beside it.
    if kind == "gemma3" and not isinstance(inner, dict | None):
        raise UsageError(f"cannot use '{path}': text_config is {shown(inner)}, not an object")
    if kind != "gemma3" and inner is not None:
        raise UsageError(f"cannot use '{path}': a {kind} model has no text_config, remove it")


def _check_heads(path: Path, config: dict[str, Any]) -> None:
    heads = config.get("num_attention_heads", config.get("n_head"))
    width = config.get("hidden_size", config.get("n_embd"))
    shared = config.get("num_key_value_heads")
    if heads and shared and heads % shared:
        raise UsageError(
            f"cannot use '{path}': num_attention_heads {heads} is no multiple of "
            f"num_key_value_heads {shared}"
        )
    if heads and width and not config.get("head_dim") and width % heads:
        raise UsageError(
            f"cannot use '{path}': a width (hidden_size) of {width} is no multiple of "
            f"num_attention_heads {heads}"
        )


def _check_token_ids(path: Path, config: dict[str, Any], rows: int | None) -> None:
    rows = rows or LONGEST
    for key in ("eos_token_id", "pad_token_id"):
        value = config.get(key)
        ids = value if isinstance(value, list) else [value]
        # Old conversions have pad -1, which stands for none.
        lowest = -1 if key == "pad_token_id" else 0
        for number in ids:
            if number is not None and (type(number) is not int or not lowest <= number < rows):
                raise UsageError(
                    f"cannot use '{path}': {shown(key)} is {shown(value)}, not the id of a token "
                    f"(0 to {rows - 1})"
                )
