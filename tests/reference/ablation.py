"""Ablation, slow and obvious: one whole forward of the plain model per request and place.

Plain torch hooks on the model's own modules; padding on the left (with a mask and positions), on
the right, or none.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.parts import blocks, family_of

PADDING = 3


@dataclass(frozen=True)
class Said:
    """What a run says behind a prompt: logits, and the final state they are made of."""

    logits: Tensor
    state: Tensor


@torch.no_grad()
def say(model: PreTrainedModel, prompt: Sequence[int], side: str = "none") -> Said:
    """One forward of one prompt, padded with junk tokens on a side."""
    junk = [7] * (PADDING if side != "none" else 0)
    first = len(junk) if side == "left" else 0
    row = [*junk, *prompt] if side == "left" else [*prompt, *junk]
    ids = torch.tensor([row])
    mask = torch.zeros_like(ids)
    mask[:, first : first + len(prompt)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=False,
        output_hidden_states=True,
    )
    last = first + len(prompt) - 1
    return Said(out.logits[0, last], out.hidden_states[-1][0, last])


def head_width(model: PreTrainedModel) -> int:
    config = model.config
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _output_matrix(model, layer):
    return blocks(model)[layer].get_submodule(family_of(model).leaves["attn.o"])


def _mlp(model, layer):
    """What writes the MLP's share into the residual stream."""
    block = blocks(model)[layer]
    return getattr(block, "post_feedforward_layernorm", block.mlp)


@contextmanager
def _all(*handles):
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def z_of(model, layer, prompt) -> Tensor:
    """Heads side by side, (tokens, heads * width)."""
    kept = []
    hook = _output_matrix(model, layer).register_forward_pre_hook(lambda m, a: kept.append(a[0][0]))
    with _all(hook):
        say(model, prompt)
    return kept[0].clone()


def mlp_of(model, layer, prompt) -> Tensor:
    kept = []
    hook = _mlp(model, layer).register_forward_hook(lambda m, a, out: kept.append(out[0]))
    with _all(hook):
        say(model, prompt)
    return kept[0].clone()


def head_replaced(model, layer: int, head: int, value: Callable[[Tensor], Tensor], side="none"):
    """Within it a head's z (tokens, width) goes through `value`; tokens count without padding."""
    width = head_width(model)
    columns = slice(head * width, (head + 1) * width)
    skip = PADDING if side == "left" else 0

    def hook(module, args):
        z = args[0].clone()
        tokens = slice(skip, z.shape[1] - (PADDING if side == "right" else 0))
        z[0, tokens, columns] = value(z[0, tokens, columns])
        return (z, *args[1:])

    return _all(_output_matrix(model, layer).register_forward_pre_hook(hook))


def mlp_replaced(model, layer: int, value: Callable[[Tensor], Tensor], side="none"):
    skip = PADDING if side == "left" else 0

    def hook(module, args, out):
        out = out.clone()
        tokens = slice(skip, out.shape[1] - (PADDING if side == "right" else 0))
        out[0, tokens] = value(out[0, tokens])
        return out

    return _all(_mlp(model, layer).register_forward_hook(hook))


def even_heads(model, heads: Sequence[tuple[int, int]]):
    """Within it the queries of these (layer, head) are zero, bias and all."""
    return _all(*(_zero_query(model, layer, head) for layer, head in heads))


def _zero_query(model, layer, head):
    width, kind = head_width(model), model.config.model_type
    attention = getattr(blocks(model)[layer], family_of(model).attention)
    name = {"gpt2": "c_attn", "gpt_neox": "query_key_value"}.get(kind, "q_proj")
    # GPT-NeoX keeps query, key and value of a head together.
    first = head * width * (3 if kind == "gpt_neox" else 1)

    def hook(module, args, out):
        out = out.clone()
        out[..., first : first + width] = 0.0
        return out

    return getattr(attention, name).register_forward_hook(hook)


def drops(before: Said, after: Said, answer: int) -> tuple[float, float]:
    """What the answer loses: in probability, and in its logit over the best other token's."""
    others = before.logits.clone()
    others[answer] = -torch.inf
    rival = int(others.argmax())

    def both(said):
        return said.logits.softmax(-1)[answer], said.logits[answer] - said.logits[rival]

    return tuple(float(a - b) for a, b in zip(both(before), both(after), strict=True))


def divergence(before: Said, after: Said) -> float:
    p, q = before.logits.double().softmax(-1), after.logits.double().softmax(-1)
    return float((p * (p / q).log()).sum())


def angle(untouched: Tensor, ablated: Tensor) -> float:
    """Degrees between the leading left singular vectors of two matrices (requests, width)."""
    one, other = (torch.linalg.svd(m.double())[0][:, 0] for m in (untouched, ablated))
    return float(torch.rad2deg(torch.arccos((one @ other).abs().clamp(max=1))))
