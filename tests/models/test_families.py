"""The table of families, held against what each family's own code does with its weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from families import ALL, CONFIGS, MIXTURES, MORE
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from locscope.locations import Location
from locscope.models import parts

EVERY = pytest.mark.parametrize("family", list(ALL))
WITH_HEADS = pytest.mark.parametrize("family", [name for name in ALL if name != "deepseek"])
"""Those whose heads are rows of a weight."""
DENSE = pytest.mark.parametrize("family", [name for name in ALL if name not in MIXTURES])
IDS = torch.tensor([[0, 5, 77, 130, 200, 9, 31, 280], [0, 99, 4, 4, 250, 17, 60, 111]])
LAYER = 1
SPLITS = {"bloom": ("_reshape", False), "falcon": ("_split_heads", True)}
SEEN: list[tuple[Tensor, Tensor, Tensor]] = []


def _recorder(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any):
    SEEN.append((query.clone(), key.clone(), value.clone()))
    kwargs.pop("softcap", None)  # Gemma 2's; what comes after q, k and v is not looked at.
    return sdpa_attention_forward(module, query, key, value, *args, **kwargs)


AttentionInterface.register("recorder", _recorder)
AttentionMaskInterface.register("recorder", sdpa_mask)


@torch.no_grad()
def qkv(model: PreTrainedModel, layer: int = LAYER) -> tuple[Tensor, Tensor, Tensor]:
    """What the family's own code hands to attention: (texts, heads, tokens, width) each."""
    attention = parts.blocks(model)[layer].get_submodule(parts.family_of(model).attention)
    if model.config.model_type in SPLITS:
        # They take no other attention: what their own code makes of the fused module's output.
        split, transposed = SPLITS[model.config.model_type]
        _, fused = inputs_and_output(model, parts.family_of(model).leaves["attn.q"])
        found = getattr(attention, split)(fused)
        return tuple(one.transpose(1, 2) if transposed else one for one in found)
    SEEN.clear()
    model.set_attn_implementation("recorder")
    model(IDS)
    return SEEN[layer]


@contextmanager
def scaled(model: PreTrainedModel, text: str, factor: float) -> Iterator[None]:
    """The weights of a location multiplied by a factor, and back."""
    found = parts.slices(model, Location.parse(text))
    before = [parts.take(model.get_parameter(one.name), one) for one in found]
    for one, values in zip(found, before, strict=True):
        parts.put(model.get_parameter(one.name), one, values * factor)
    yield
    for one, values in zip(found, before, strict=True):
        parts.put(model.get_parameter(one.name), one, values)


@torch.no_grad()
def inputs_and_output(model: PreTrainedModel, module: str) -> tuple[Tensor, Tensor]:
    """First input and output of a module under the layer."""
    seen: list[tuple[Tensor, Tensor]] = []
    target = parts.blocks(model)[LAYER].get_submodule(module)
    handle = target.register_forward_hook(lambda _, args, out: seen.append((args[0], out.clone())))
    model(IDS)
    handle.remove()
    return seen[0]


@cache
def model_of(family: str) -> PreTrainedModel:
    """Shared by the tests that put back what they change."""
    return ALL[family]()


@WITH_HEADS
@pytest.mark.parametrize("which", [0, 1, 2])
def test_zeroed_rows_of_q_k_v_zero_exactly_that_activation(family: str, which: int):
    model = ALL[family]()
    before = qkv(model)
    with scaled(model, f"L{LAYER}.attn.{'qkv'[which]}", 0.0):
        after = qkv(model)
    for index in range(3):
        assert before[index].abs().amax(-1).min() > 0
        expected = torch.zeros_like(before[index]) if index == which else before[index]
        assert torch.equal(after[index], expected)


@WITH_HEADS
@pytest.mark.parametrize("head", [0, 2, 3])
def test_a_head_is_its_rows_of_q_and_its_columns_of_o(family: str, head: int):
    model = ALL[family]()
    before = qkv(model)
    output = parts.family_of(model).leaves["attn.o"]
    z, _ = inputs_and_output(model, output)
    module = parts.blocks(model)[LAYER].get_submodule(output)
    with scaled(model, f"L{LAYER}.attn.h{head}", 0.0):
        after = qkv(model)
        without = module(z)
    expected = before[0].clone()
    expected[:, head] = 0
    # The query norm of OLMo 2 goes over all heads: there the others grow where one is silent.
    assert torch.equal(after[0][:, head], expected[:, head])
    assert family == "olmo2" or torch.equal(after[0], expected)
    assert torch.equal(after[1], before[1])
    assert torch.equal(after[2], before[2])
    silenced = z.unflatten(-1, (4, -1)).clone()
    silenced[..., head, :] = 0
    torch.testing.assert_close(without, module(silenced.flatten(-2)), rtol=0, atol=1e-6)


@DENSE
def test_mlp_parts_act_as_gate_up_and_down(family: str):
    model = model_of(family)
    down = parts.family_of(model).leaves["mlp.down"]
    inner, _ = inputs_and_output(model, down)
    with scaled(model, f"L{LAYER}.mlp.up", 0.0):
        assert not inputs_and_output(model, down)[0].any()
    with scaled(model, f"L{LAYER}.mlp.down", 0.0):
        assert not inputs_and_output(model, down)[1].any()
    if "mlp.gate" in parts.parts(model):
        with scaled(model, f"L{LAYER}.mlp.up", 2.0):
            torch.testing.assert_close(inputs_and_output(model, down)[0], 2 * inner)
        with scaled(model, f"L{LAYER}.mlp.gate", 0.0):
            assert not inputs_and_output(model, down)[0].any()
        with scaled(model, f"L{LAYER}.mlp.gate", 2.0):
            assert not torch.allclose(inputs_and_output(model, down)[0], 2 * inner, atol=1e-2)


@pytest.mark.parametrize("family", MIXTURES)
@torch.no_grad()
def test_an_expert_is_its_rows_and_the_router_is_no_part(family: str):
    model = ALL[family]()
    block, family_ = parts.blocks(model)[LAYER], parts.family_of(model)
    experts = block.get_submodule(family_.experts)
    seen = []
    handle = experts.register_forward_hook(lambda _, args, out: seen.append((args, out)))
    model(IDS)
    handle.remove()
    (hidden, chosen, weights), before = seen[0]
    flat = hidden.reshape(-1, hidden.shape[-1])
    uses = (chosen == 2).any(-1)
    assert 0 < int(uses.sum()) < len(uses)
    for part in ("mlp.expert2", "mlp.expert2.down"):
        with scaled(model, f"L{LAYER}.{part}", 0.0):
            after = experts(flat, chosen, weights)
        changed = (after != before.view_as(after)).any(-1)
        assert torch.equal(changed, uses)
    others = "+".join(f"L{LAYER}.mlp.expert{n}.down" for n in (0, 1, 3))
    with scaled(model, others, 0.0):
        alone = experts(flat, chosen, weights)
    assert torch.equal((alone != 0).any(-1), uses)
    routers = [f".{LAYER}.{router}." for router in family_.routers]
    whole = parts.slices(model, Location.parse(f"L{LAYER}.block"))
    assert not any(router in one.name for one in whole for router in routers)


@EVERY
def test_zeroed_o_leaves_attention_nothing_to_say(family: str):
    model = model_of(family)
    output = parts.family_of(model).leaves["attn.o"]
    assert inputs_and_output(model, output)[1].any()
    with scaled(model, f"L{LAYER}.attn.o", 0.0):
        assert not inputs_and_output(model, output)[1].any()


@EVERY
@torch.no_grad()
def test_the_body_gives_what_is_unembedded(family: str):
    model = model_of(family)
    owner, name = parts.blocks_owner(model)
    assert getattr(owner, name) is parts.blocks(model)
    unembed = model.get_output_embeddings()
    assert unembed is not None
    factor, cap = parts.logit_scale(model)
    logits = factor * unembed(parts.body(model)(IDS).last_hidden_state)
    logits = torch.tanh(logits / cap) * cap if cap else logits
    torch.testing.assert_close(logits, model(IDS).logits)


@EVERY
def test_logits_are_not_degenerate(family: str):
    logits = model_of(family)(IDS).logits
    assert 0.5 < logits.std() < 3
    assert logits.argmax(-1).unique().numel() > 3


def test_every_supported_family_has_a_tiny_model():
    made = {config["model_type"] for config in (CONFIGS | MORE).values()}
    assert made | {"gemma", "gemma3"} == set(parts.FAMILIES)
    assert len(parts.FAMILIES) >= 24
