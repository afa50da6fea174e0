"""The model families whose weights locscope can name: where each keeps what. Data only, no torch.

A newcomer adds a family with one entry. Paths are exact module paths, never patterns.
"""

from dataclasses import dataclass, field

PLAIN = "plain"
"""All rows of the module belong to the part; heads follow one another."""
STACKED = "stacked"
"""Rows of all q heads, then of all k heads, then of all v heads."""
INTERLEAVED = "interleaved"
"""Head by head: its q rows, its k rows, its v rows."""
HALVES = "halves"
"""Rows of gate, then of up."""


@dataclass(frozen=True)
class Leaf:
    """The module under the layer that holds a part, and how its outputs (rows) are laid out."""

    module: str
    layout: str = PLAIN


@dataclass(frozen=True)
class Family:
    """Where a family keeps its decoder layers (`owner`.`layers`) and, under a layer, its parts.

    `attention` and `mlp` are the modules whose every parameter belongs to that part; `leaves` has
    the finer parts that exist. `transposed`: weights are (in, out), as in GPT-2's Conv1D.
    """

    owner: str
    leaves: dict[str, Leaf] = field(hash=False)
    layers: str = "layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    transposed: bool = False


_LLAMA_LEAVES = {
    "mlp.gate": Leaf("mlp.gate_proj"),
    "mlp.up": Leaf("mlp.up_proj"),
    "mlp.down": Leaf("mlp.down_proj"),
    "attn.q": Leaf("self_attn.q_proj"),
    "attn.k": Leaf("self_attn.k_proj"),
    "attn.v": Leaf("self_attn.v_proj"),
    "attn.o": Leaf("self_attn.o_proj"),
}
_PHI3_LEAVES = {
    "mlp.gate": Leaf("mlp.gate_up_proj", HALVES),
    "mlp.up": Leaf("mlp.gate_up_proj", HALVES),
    "mlp.down": Leaf("mlp.down_proj"),
    "attn.q": Leaf("self_attn.qkv_proj", STACKED),
    "attn.k": Leaf("self_attn.qkv_proj", STACKED),
    "attn.v": Leaf("self_attn.qkv_proj", STACKED),
    "attn.o": Leaf("self_attn.o_proj"),
}
_GPT2_LEAVES = {
    "mlp.up": Leaf("mlp.c_fc"),
    "mlp.down": Leaf("mlp.c_proj"),
    "attn.q": Leaf("attn.c_attn", STACKED),
    "attn.k": Leaf("attn.c_attn", STACKED),
    "attn.v": Leaf("attn.c_attn", STACKED),
    "attn.o": Leaf("attn.c_proj"),
}
_NEOX_LEAVES = {
    "mlp.up": Leaf("mlp.dense_h_to_4h"),
    "mlp.down": Leaf("mlp.dense_4h_to_h"),
    "attn.q": Leaf("attention.query_key_value", INTERLEAVED),
    "attn.k": Leaf("attention.query_key_value", INTERLEAVED),
    "attn.v": Leaf("attention.query_key_value", INTERLEAVED),
    "attn.o": Leaf("attention.dense"),
}
_LLAMA = Family("model", _LLAMA_LEAVES)

FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gemma3": Family("model.language_model", _LLAMA_LEAVES),
    "phi3": Family("model", _PHI3_LEAVES),
    "gpt2": Family("transformer", _GPT2_LEAVES, layers="h", attention="attn", transposed=True),
    "gpt_neox": Family("gpt_neox", _NEOX_LEAVES, attention="attention"),
}
"""`model_type` of a configuration to its family."""
