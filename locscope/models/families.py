"""The model families whose weights locscope can name: where each keeps what. Data only, no torch.

A new family is one entry. Paths are exact module paths, never patterns.
"""

from dataclasses import dataclass, field, replace

PLAIN = "plain"
"""All rows of the module belong to the part; heads follow one another."""
STACKED = "stacked"
"""Rows of all q heads, then of all k heads, then of all v heads."""
INTERLEAVED = "interleaved"
"""Group by group of heads that share a key: its heads' q rows, its k rows, its v rows."""
HALVES = "halves"
"""Rows of gate, then of up."""

EXPERTS = "mixtures of experts"
"""Blocks whose MLP sends each token to some experts of many."""
LATENT = "latent attention"
"""Keys and values are made of one small vector, and have other widths than heads elsewhere."""


@dataclass(frozen=True)
class Family:
    """Where a family keeps its decoder layers (`owner`.`layers`) and, under a layer, its parts.

    `attention` and `mlp` are the modules whose every parameter belongs to that part; `leaves` has
    the modules under the layer that hold the finer parts. `qkv` and `gate_up` say how the outputs
    (rows) of these parts lie in their modules. `transposed`: weights are (in, out), as in GPT-2's
    Conv1D. `tuples`: a block returns a tuple, of which the stream is the first. `joins`: attention
    and MLP are given the stream too and return its sum with what they add (BLOOM). `mlp` is empty
    where a layer has no such module (OPT), and `mlp_alone` false where it is no function of one
    tensor, token by token.

    Of a mixture, `experts` is the module under a layer that has all experts' weights stacked, as
    `gate_up_proj` and `down_proj`; `routers` choose among them and are no part; `shared` is the
    expert that sees every token. `stored` has the names under a layer that one expert's gate, up
    and down have on disk, where it is not stacked there too. `norm` is the final norm, beside the
    layers.
    """

    owner: str
    leaves: dict[str, str] = field(hash=False)
    layers: str = "layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    qkv: str = PLAIN
    gate_up: str = PLAIN
    transposed: bool = False
    tuples: bool = False
    joins: bool = False
    mlp_alone: bool = True
    experts: str = ""
    routers: tuple[str, ...] = ()
    shared: str = ""
    stored: tuple[str, ...] = ()
    norm: str = "norm"

    @property
    def blocks(self) -> str:
        """The path of the list of decoder layers, as `model.layers`."""
        return f"{self.owner}.{self.layers}"

    @property
    def final_norm(self) -> str:
        """The path of the norm behind the last layer."""
        return f"{self.owner}.{self.norm}"

    def layout(self, part: str) -> str:
        """How the rows of a part lie in its module."""
        if part in ("attn.q", "attn.k", "attn.v"):
            return self.qkv
        return self.gate_up if part in ("mlp.gate", "mlp.up") else PLAIN


def _separate(attention: str, output: str, **mlp: str) -> dict[str, str]:
    """Parts of a layer whose query, key and value are modules of their own."""
    names = {part: f"{attention}.{part}_proj" for part in "qkv"}
    found = {f"mlp.{part}": module for part, module in mlp.items()}
    return found | {f"attn.{part}": n for part, n in names.items()} | {"attn.o": output}


def _fused(qkv: str, output: str, **mlp: str) -> dict[str, str]:
    """Parts of a layer whose query, key and value are rows of one module."""
    found = {f"mlp.{part}": module for part, module in mlp.items()}
    return found | {f"attn.{part}": qkv for part in "qkv"} | {"attn.o": output}


_GATED = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}
_FOUR = {"up": "mlp.dense_h_to_4h", "down": "mlp.dense_4h_to_h"}
_PHI3_MLP = {"gate": "mlp.gate_up_proj", "up": "mlp.gate_up_proj", "down": "mlp.down_proj"}
_LLAMA_LEAVES = _separate("self_attn", "self_attn.o_proj", **_GATED)
_OPT_LEAVES = _separate("self_attn", "self_attn.out_proj", up="fc1", down="fc2")
_BLOOM_LEAVES = _fused("self_attention.query_key_value", "self_attention.dense", **_FOUR)
# Latent attention makes keys and values of one small vector: no rows of a weight are a head's.
_LATENT_LEAVES = {f"mlp.{part}": module for part, module in _GATED.items()}
_LATENT_LEAVES |= {"attn.o": "self_attn.o_proj"}
_EACH = tuple(f"mlp.experts.{{}}.{part}_proj.weight" for part in ("gate", "up", "down"))
_LLAMA = Family("model", _LLAMA_LEAVES)
_BLOOM = Family(
    "transformer",
    _BLOOM_LEAVES,
    layers="h",
    attention="self_attention",
    qkv=INTERLEAVED,
    tuples=True,
    norm="ln_f",
)
_MIXTURE = replace(_LLAMA, experts="mlp.experts", routers=("mlp.gate",), stored=_EACH)

FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gemma3": Family("model.language_model", _LLAMA_LEAVES),
    "olmo2": _LLAMA,
    "smollm3": _LLAMA,
    "stablelm": _LLAMA,
    "granite": _LLAMA,
    "cohere": _LLAMA,
    "phi": Family(
        "model",
        _separate("self_attn", "self_attn.dense", up="mlp.fc1", down="mlp.fc2"),
        norm="final_layernorm",
    ),
    "phi3": Family(
        "model",
        _fused("self_attn.qkv_proj", "self_attn.o_proj", **_PHI3_MLP),
        qkv=STACKED,
        gate_up=HALVES,
    ),
    "starcoder2": Family(
        "model", _separate("self_attn", "self_attn.o_proj", up="mlp.c_fc", down="mlp.c_proj")
    ),
    "opt": Family("model.decoder", _OPT_LEAVES, mlp="", mlp_alone=False, norm="final_layer_norm"),
    "bloom": replace(_BLOOM, joins=True, mlp_alone=False),
    "falcon": _BLOOM,
    "gpt2": Family(
        "transformer",
        _fused("attn.c_attn", "attn.c_proj", up="mlp.c_fc", down="mlp.c_proj"),
        layers="h",
        attention="attn",
        qkv=STACKED,
        transposed=True,
        norm="ln_f",
    ),
    "gpt_neox": Family(
        "gpt_neox",
        _fused("attention.query_key_value", "attention.dense", **_FOUR),
        attention="attention",
        qkv=INTERLEAVED,
        norm="final_layer_norm",
    ),
    "mixtral": replace(
        _MIXTURE, stored=tuple(f"block_sparse_moe.experts.{{}}.w{n}.weight" for n in (1, 3, 2))
    ),
    "qwen2_moe": replace(
        _MIXTURE, routers=("mlp.gate", "mlp.shared_expert_gate"), shared="mlp.shared_expert"
    ),
    "qwen3_moe": _MIXTURE,
    "gpt_oss": replace(_MIXTURE, routers=("mlp.router",), stored=(), mlp_alone=False),
    "deepseek_v3": replace(_MIXTURE, leaves=_LATENT_LEAVES, shared="mlp.shared_experts"),
}
"""`model_type` of a configuration to its family."""
NAMELESS = Family("", {}, layers="", attention="", mlp="")
"""A family whose modules have no names that other tools could be given."""


def named_like_llama(family: str) -> bool:
    """Whether all modules have the names of Llama's, so that patterns for these pick them."""
    return FAMILIES.get(family) == FAMILIES["llama"]
