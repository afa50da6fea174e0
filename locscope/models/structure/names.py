"""What can be told of a model before torch is imported: devices and dtypes by their names, and
which layers, parts and heads its configuration has."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from locscope.errors import UsageError, shown, unknown
from locscope.locations import PARTS, Site
from locscope.models.config_checks import LAYERS, text_config
from locscope.models.families import FAMILIES

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
TYPES = ("cpu", "cuda", "mps")
"""Types of devices; their names may have a number behind."""
OTHER_WORDS = {
    **dict.fromkeys(("gpu", "nvidia", "rocm", "hip", "amd", "cuda0", "gpu0", "gpu:0"), "cuda"),
    **dict.fromkeys(("metal", "apple", "m1", "m2", "m3", "mac"), "mps"),
    **dict.fromkeys(("host", "none", "x86"), "cpu"),
    **dict.fromkeys(("bf16", "bf", "torch.bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp16", "f16", "half", "torch.float16"), "float16"),
    **dict.fromkeys(("fp32", "f32", "float", "full", "single", "torch.float32"), "float32"),
}
"""What other programs call them."""


class Shape(NamedTuple):
    """The family of a model, its number of layers and heads, and the parts of a layer."""

    family: str
    layers: int
    parts: tuple[str, ...]
    heads: int


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a configuration states; None where it leaves something to its defaults.

    >>> shape_of({"model_type": "gpt2", "n_layer": 12, "n_head": 12}).parts
    ('mlp.up', 'mlp.down', 'mlp', 'attn.q', 'attn.k', 'attn.v', 'attn.o', 'attn', 'block')
    """
    family, inner = FAMILIES.get(str(config.get("model_type"))), text_config(dict(config))
    layers = next((inner[key] for key in LAYERS if key in inner), None)
    heads = inner.get("num_attention_heads", inner.get("n_head"))
    if family is None or type(layers) is not int or type(heads) is not int:
        return None
    parts = (part for part in PARTS if part in family.leaves or part in ("mlp", "attn", "block"))
    return Shape(str(config["model_type"]), layers, tuple(parts), heads)


def require(site: Site, shape: Shape) -> None:
    """Raises UsageError where a model of that shape lacks a layer or a head of the site; its parts
    are told once its modules are there."""
    if site.last >= shape.layers:
        raise UsageError(
            f"{site}: the model has no layer {site.last}, its layers are 0..{shape.layers - 1}"
        )
    if site.head is not None and site.head >= shape.heads:
        raise UsageError(
            f"{site}: there is no head {site.head}, the heads are 0..{shape.heads - 1}"
        )


def check_device(name: str) -> None:
    """Raises UsageError, with near names, for what no device is called; `cuda:1` is one."""
    kind, colon, index = name.partition(":")
    # As torch reads it: at most three digits, without zeros before them.
    numbered = index.isascii() and index.isdecimal() and index == str(int(index[:4]))
    if name == "auto" or (kind in TYPES and (not colon or (numbered and len(index) < 4))):
        return
    number = "".join(character for character in name if character.isdecimal())
    meant = _meant(name.rstrip("0123456789:") or name, TYPES)
    if meant == "cuda" and number and number != "0":
        meant = f"cuda:{number}"
    raise _unknown("device", name, DEVICES, meant)


def check_dtype(name: str) -> None:
    """Raises UsageError, with near names, for a dtype that nothing is computed in."""
    if name not in DTYPES:
        raise _unknown("dtype", name, DTYPES, _meant(name, DTYPES))


def _meant(name: str, table: Sequence[str]) -> str:
    low = name.lower()
    near = get_close_matches(low, table, n=1, cutoff=0.7)
    return OTHER_WORDS.get(low) or (near[0] if near else "")


def _unknown(kind: str, name: str, table: Sequence[str], meant: str) -> UsageError:
    if not meant:
        return unknown(kind, name, table)
    return UsageError(f"unknown {kind} {shown(name)}: did you mean {meant}?")
