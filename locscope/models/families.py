"""The model families whose weights locscope can name: where each keeps what. Data only, no torch.

A new family is one entry. Paths are exact module paths, never patterns.
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
class Family:
    """Where a family keeps its decoder layers (`owner`.`layers`) and, under a layer, its parts.

    `attention` and `mlp` are the modules whose every parameter belongs to that part; `leaves` has
    the modules under the layer that hold the finer parts. `qkv` and `gate_up` say how the outputs
    (rows) of these parts lie in their modules. `transposed`: weights are (in, out), as in GPT-2's
    Conv1D.
    """

    owner: str
    leaves: dict[str, str] = field(hash=False)
    layers: str = "layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    qkv: str = PLAIN
    gate_up: str = PLAIN
    transposed: bool = False

    def layout(self, part: str) -> str:
        """How the rows of a part lie in its module."""
        if part in ("attn.q", "attn.k", "attn.v"):
            return self.qkv
        return self.gate_up if part in ("mlp.gate", "mlp.up") else PLAIN


_LLAMA_LEAVES = {
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.o_proj",
}
_PHI3_LEAVES = {
    "mlp.gate": "mlp.gate_up_proj",
    "mlp.up": "mlp.gate_up_proj",
    "mlp.down": "mlp.down_proj",
    "attn.q": "self_attn.qkv_proj",
    "attn.k": "self_attn.qkv_proj",
    "attn.v": "self_attn.qkv_proj",
    "attn.o": "self_attn.o_proj",
}
_GPT2_LEAVES = {
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
    "attn.q": "attn.c_attn",
    "attn.k": "attn.c_attn",
    "attn.v": "attn.c_attn",
    "attn.o": "attn.c_proj",
}
_NEOX_LEAVES = {
    "mlp.up": "mlp.dense_h_to_4h",
    "mlp.down": "mlp.dense_4h_to_h",
    "attn.q": "attention.query_key_value",
    "attn.k": "attention.query_key_value",
    "attn.v": "attention.query_key_value",
    "attn.o": "attention.dense",
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
    "phi3": Family("model", _PHI3_LEAVES, qkv=STACKED, gate_up=HALVES),
    "gpt2": Family(
        "transformer", _GPT2_LEAVES, layers="h", attention="attn", qkv=STACKED, transposed=True
    ),
    "gpt_neox": Family("gpt_neox", _NEOX_LEAVES, attention="attention", qkv=INTERLEAVED),
}
"""`model_type` of a configuration to its family."""

FINAL_NORMS = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}
"""By family, the module of the final norm beside the layers, where it is not `norm`."""


def named_like_llama(family: str) -> bool:
    """Whether all modules have the names of Llama's, so that patterns for these pick them."""
    return FAMILIES.get(family) == FAMILIES["llama"]
