"""Locations to weights: every weight that is meant, once, and no other."""

from functools import cache

import pytest
import torch
from families import FAMILIES, tiny
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from locscope.errors import UsageError
from locscope.locations import PARTS, Location
from locscope.models import parts

EVERY = pytest.mark.parametrize("family", list(FAMILIES))
LAYER = 1


def masks(model: PreTrainedModel, text: str) -> dict[str, Tensor]:
    """The slices of a location as booleans over whole parameters."""
    found: dict[str, Tensor] = {}
    for one in parts.slices(model, Location.parse(text)):
        assert one.name not in found, "a parameter comes twice"
        mask = torch.zeros_like(model.get_parameter(one.name))
        parts.put(mask, one, torch.ones(one.count))
        assert int(mask.sum()) == one.count
        found[one.name] = mask.bool()
    return found


def union(*many: dict[str, Tensor]) -> dict[str, Tensor]:
    """The booleans of several locations, or-ed."""
    total: dict[str, Tensor] = {}
    for masked in many:
        for name, mask in masked.items():
            total[name] = total[name] | mask if name in total else mask
    return total


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@cache
def model_of(family: str) -> PreTrainedModel:
    """Shared by the tests that put back what they change."""
    return FAMILIES[family]()


@EVERY
def test_block_attn_and_mlp_are_every_parameter_under_their_prefix(family: str):
    model = model_of(family)
    blocks = parts.blocks(model)
    prefix = next(name for name, module in model.named_modules() if module is blocks) + f".{LAYER}."
    family_ = parts.family_of(model)
    for part, under in [("block", ""), ("attn", f"{family_.attention}."), ("mlp", "mlp.")]:
        found = parts.slices(model, Location.at(LAYER, part))
        expected = [n for n, _ in model.named_parameters() if n.startswith(prefix + under)]
        assert [one.name for one in found] == expected
        assert all(one.axis is None and one.ranges == () for one in found)
        numbers = [model.get_parameter(n).numel() for n in expected]
        assert [one.count for one in found] == numbers


@EVERY
def test_the_finer_parts_are_disjoint_and_make_up_the_coarser(family: str):
    model = model_of(family)
    fine = [part for part in parts.parts(model) if "." in part]
    covered = [masks(model, f"L{LAYER}.{part}") for part in fine]
    total = sum(int(mask.sum()) for one in covered for mask in one.values())
    joined = union(*covered)
    assert total == sum(int(mask.sum()) for mask in joined.values())
    coarse = union(masks(model, f"L{LAYER}.attn"), masks(model, f"L{LAYER}.mlp"))
    rest = {name for name in coarse if name not in joined}
    assert all("_norm." in name for name in rest)
    assert equal(joined, {n: m for n, m in coarse.items() if n not in rest})


@EVERY
def test_all_heads_together_are_q_and_the_weight_of_o(family: str):
    model = model_of(family)
    heads = union(*(masks(model, f"L{LAYER}.attn.h{head}") for head in range(4)))
    joined = masks(model, "+".join(f"L{LAYER}.attn.h{head}" for head in range(4)))
    assert equal(heads, joined)
    both = union(masks(model, f"L{LAYER}.attn.q"), masks(model, f"L{LAYER}.attn.o"))
    output = parts.family_of(model).leaves["attn.o"]
    assert equal(joined, {n: m for n, m in both.items() if not n.endswith(f"{output}.bias")})


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_overlapping_sites_give_every_weight_once(family: str, seed: int):
    model = model_of(family)
    known = [*parts.parts(model), "attn.h0", "attn.h1", "attn.h3"]
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(known), (5,), generator=generator).tolist()
    layers = torch.randint(3, (5,), generator=generator).tolist()
    sites = [f"L{layer}.{known[pick]}" for layer, pick in zip(layers, picks, strict=True)]
    together = masks(model, "+".join(sites))
    assert equal(together, union(*(masks(model, site) for site in sites)))
    order = [name for name, _ in model.named_parameters() if name in together]
    assert list(together) == order


@EVERY
def test_values_come_back_bit_for_bit_and_others_stay(family: str):
    model = FAMILIES[family]().to(torch.bfloat16)
    before = {name: value.clone() for name, value in model.named_parameters()}
    for text in ["L0.attn.h1", "L0.attn.k", "L1.mlp.up", "L2.block", "L0-1.attn.h0+L1.mlp"]:
        chosen = masks(model, text)
        found = parts.slices(model, Location.parse(text))
        kept = [parts.take(model.get_parameter(one.name), one) for one in found]
        assert all(v.dtype == torch.float32 and v.dim() == 1 for v in kept)
        for one, values in zip(found, kept, strict=True):
            fresh = torch.arange(one.count, dtype=torch.float32) % 256
            parts.put(model.get_parameter(one.name), one, fresh)
            assert torch.equal(parts.take(model.get_parameter(one.name), one), fresh)
            untouched = ~chosen[one.name]
            now = model.get_parameter(one.name)
            assert torch.equal(now[untouched], before[one.name][untouched])
            parts.put(now, one, values)
        assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


def test_put_refuses_a_wrong_number_of_values():
    model = model_of("llama")
    (one,) = parts.slices(model, Location.parse("L1.attn.q"))
    with pytest.raises(ValueError, match=r"\(3,\) values for 1024 weights"):
        parts.put(model.get_parameter(one.name), one, torch.zeros(3))


def test_layer_1_is_not_layers_10_to_15():
    model = tiny("llama", num_hidden_layers=16)
    for part in PARTS:
        names = [one.name for one in parts.slices(model, Location.at(1, part))]
        assert names
        assert all(name.startswith("model.layers.1.") for name in names)
    names = {one.name.split(".")[2] for one in parts.slices(model, Location.parse("L9-11.mlp"))}
    assert names == {"9", "10", "11"}


@EVERY
def test_the_grid_has_every_part_of_every_layer_with_its_count(family: str):
    model = model_of(family)
    grid = parts.grid(model)
    layers = len(parts.blocks(model))
    expected = [p for p in PARTS if p != "mlp.gate" or family not in ("gpt2", "gptneox")]
    assert [(e.layer, e.part) for e in grid] == [(n, p) for n in range(layers) for p in expected]
    for entry in grid:
        total = sum(int(mask.sum()) for mask in masks(model, str(entry.location)).values())
        assert entry.parameters == total > 0


def test_a_missing_layer_part_or_head_is_named_with_what_there_is():
    model = model_of("gpt2")
    for text, words in [
        ("L3.mlp.down", r"L3.mlp.down: the model has no layer 3, its layers are 0\.\.2"),
        ("L1-7.mlp", r"L1-7.mlp: the model has no layer 7, its layers are 0\.\.2"),
        ("L0.mlp.gate", "L0.mlp.gate: gpt2 has no part mlp.gate, its parts are mlp.up, mlp.down"),
        ("L0.attn.h4", r"L0.attn.h4: there is no head 4, the heads are 0\.\.3"),
        ("L0.mlp+L9.block", "no layer 9"),
    ]:
        with pytest.raises(UsageError, match=words):
            parts.slices(model, Location.parse(text))


def test_the_summary_names_parameters_and_counts():
    text = parts.summary(model_of("gpt2"), Location.parse("L1.attn.h1"))
    assert text == (
        "L1.attn.h1: 520 weights in transformer.h.1.attn.c_attn.weight[:, 8:16] (256), "
        "transformer.h.1.attn.c_attn.bias[8:16] (8), transformer.h.1.attn.c_proj.weight[8:16] (256)"
    )
    long = parts.summary(model_of("llama"), Location.parse("L0-2.block"))
    assert long.startswith("L0-2.block: 23,232 weights in model.layers.0.self_attn.q_proj.weight (")
    assert long.endswith(", and 21 more")


def test_the_language_model_inside_gemma3_has_its_parts():
    text = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "image_size": 8,
              "num_attention_heads": 1, "patch_size": 4}  # fmt: skip
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    (found,) = parts.slices(model, Location.parse("L1.attn.q"))
    assert found.name == "model.language_model.layers.1.self_attn.q_proj.weight"
    assert found.name in dict(model.named_parameters())
    assert len(parts.grid(model)) == 2 * len(PARTS)


def test_gemma_1_has_its_parts():
    model = tiny("llama", model_type="gemma", head_dim=8)
    found = masks(model, f"L{LAYER}.block")
    prefix = f"model.layers.{LAYER}."
    assert list(found) == [n for n, _ in model.named_parameters() if n.startswith(prefix)]


def test_neighbouring_heads_are_one_range_and_all_heads_the_whole_parameter():
    model = model_of("llama")
    pair = parts.slices(model, Location.parse("L1.attn.h2+L1.attn.h1"))
    assert [(one.axis, one.ranges) for one in pair] == [(0, ((8, 24),)), (1, ((8, 24),))]
    every = "+".join(f"L1.attn.h{head}" for head in range(4))
    assert [one.axis for one in parts.slices(model, Location.parse(every))] == [None, None]
