"""Slow and obvious: neurons, heads' scales and states on the plain model, one prompt at a time.

Plain torch hooks; the prompt is padded on either side, or not at all.
"""

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from reference.plain_loop import HandAdam, plain_losses
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.packed import TokenRow
from locscope.models.parts import blocks, family_of

MLP_NORMS = {
    "llama": "post_attention_layernorm",
    "qwen2": "post_attention_layernorm",
    "qwen3": "post_attention_layernorm",
    "gemma2": "pre_feedforward_layernorm",
    "gpt2": "ln_2",
    "gpt_neox": "post_attention_layernorm",
}
"""The norm whose output is the MLP's input, under the block."""


@dataclass(frozen=True)
class Prompt:
    ids: Tensor
    mask: Tensor
    last: int

    def run(self, model: PreTrainedModel) -> Tensor:
        """The logits at the prompt's last token."""
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        out = model(
            input_ids=self.ids, attention_mask=self.mask, position_ids=positions, use_cache=False
        )
        return out.logits[:, self.last]


def prompt_of(ids: Sequence[int], padding: int = 0, side: str = "left") -> Prompt:
    own, filler = torch.tensor([list(ids)]), torch.full((1, padding), 7)
    real, pads = torch.ones_like(own), torch.zeros_like(filler)
    if side == "left":
        return Prompt(
            torch.cat([filler, own], 1), torch.cat([pads, real], 1), padding + len(ids) - 1
        )
    return Prompt(torch.cat([own, filler], 1), torch.cat([real, pads], 1), len(ids) - 1)


@contextmanager
def before(model: PreTrainedModel, layer: int, path: str, edit):
    """Runs `edit` on the input of a block's module; what it returns takes the input's place."""

    def hook(module, args):
        changed = edit(args[0])
        return None if changed is None else (changed, *args[1:])

    handle = blocks(model)[layer].get_submodule(path).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_neurons(model: PreTrainedModel, prompt: Prompt, layer: int) -> Tensor:
    """What enters the down projection at the last token (neurons,)."""
    seen = []
    with torch.no_grad(), before(model, layer, down(model), lambda x: seen.append(x.clone())):
        prompt.run(model)
    return seen[0][0, prompt.last]


def chance(
    model: PreTrainedModel, prompt: Prompt, layer: int, neurons: Tensor, answer: int
) -> Tensor:
    """The answer's probability with these neurons at the last token."""

    def put(x):
        x = x.clone()
        x[0, prompt.last] = neurons
        return x

    with before(model, layer, down(model), put):
        return prompt.run(model)[0].softmax(-1)[answer]


def down(model: PreTrainedModel) -> str:
    return family_of(model).leaves["mlp.down"]


def plain_attributions(
    model: PreTrainedModel, prompt: Prompt, layer: int, answer: int, steps: int
) -> Tensor:
    """Integrated gradients of a layer's neurons, a forward and a backward pass for each step."""
    neurons = plain_neurons(model, prompt, layer)
    total = torch.zeros_like(neurons)
    for k in range(1, steps + 1):
        point = (neurons * k / steps).requires_grad_(True)
        probability = chance(model, prompt, layer, point, answer)
        total += torch.autograd.grad(probability, point)[0]
    return neurons * total / steps


def plain_knowledge_neurons(
    model: PreTrainedModel, prompt: Prompt, answer: int, steps: int, threshold: float
) -> dict[tuple[int, int], float]:
    """Layer and number of every neuron above the threshold, with its attribution."""
    found = {}
    for layer in range(len(blocks(model))):
        values = plain_attributions(model, prompt, layer, answer, steps).tolist()
        found |= {(layer, i): value for i, value in enumerate(values)}
    limit = threshold * max(found.values())
    return {place: value for place, value in found.items() if value > max(limit, 0.0)}


def plain_head_scales(
    model: PreTrainedModel,
    rows: Sequence[TokenRow],
    start: Tensor,
    orders: Sequence[Sequence[int]],
    batch: int,
    rate: float,
    penalty: float,
) -> Tensor:
    """LoFiT's A (layers, heads, width) after an epoch for every order of the rows."""
    scales = start.clone()
    adam = HandAdam({"scales": scales}, rate)
    output = family_of(model).leaves["attn.o"]
    for order in orders:
        for first in range(0, len(order), batch):
            leaf = scales.clone().requires_grad_(True)
            some = [rows[i] for i in order[first : first + batch]]
            loss = scaled_loss(model, output, leaf, some) + penalty * leaf.abs().sum()
            (gradient,) = torch.autograd.grad(loss, leaf)
            adam.step({"scales": gradient})
    return scales


def scaled_loss(
    model: PreTrainedModel, output: str, scales: Tensor, rows: Sequence[TokenRow]
) -> Tensor:
    def times(factor: Tensor):
        return lambda x: x * factor

    with ExitStack() as stack:
        for layer, own in enumerate(scales):
            stack.enter_context(before(model, layer, output, times(1 + own.flatten())))
        return plain_losses(model, rows, "left").mean()


@torch.no_grad()
def plain_mlp_input(model: PreTrainedModel, prompt: Prompt, layer: int) -> Tensor:
    """What the norm before the MLP is given at the last token, normalised by hand (width,)."""
    seen = []
    name = MLP_NORMS[model.config.model_type]
    with before(model, layer, name, lambda x: seen.append(x.clone())):
        prompt.run(model)
    x, norm = seen[0][0, prompt.last], blocks(model)[layer].get_submodule(name)
    if isinstance(norm, torch.nn.LayerNorm):
        x, epsilon = x - x.mean(), norm.eps
    else:
        epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    return x / (x.square().mean() + epsilon).sqrt()


@torch.no_grad()
def plain_state(model: PreTrainedModel, prompt: Prompt, layer: int) -> Tensor:
    """The residual stream behind a block at the last token (width,)."""
    seen = []

    def keep(module, args, out):
        seen.append((out[0] if isinstance(out, tuple) else out).clone())

    handle = blocks(model)[layer].register_forward_hook(keep)
    try:
        prompt.run(model)
    finally:
        handle.remove()
    return seen[0][0, prompt.last]
