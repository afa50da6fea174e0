"""Causal tracing as ROME's code does it: one whole forward for every token and layer.

Plain torch hooks on the plain model; row 0 of a batch is the clean run, from which the others are
patched as it goes along.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.parts import blocks, family_of


def trace_cell(
    model: PreTrainedModel,
    clean: Sequence[int],
    corrupted: Sequence[int],
    noise: Tensor,
    first: int,
    states: Sequence[tuple[str, int, int]],
    answer: int,
    padding: int = 0,
    side: str = "left",
) -> float:
    """Mean probability of the answer in the corrupted rows, with (part, layer, token) restored."""
    samples = noise.shape[0]
    ids = torch.tensor([list(clean)] + [list(corrupted)] * samples)
    filler = torch.full((len(ids), padding), 7)
    mask = torch.cat([torch.ones_like(ids), torch.zeros_like(filler)], dim=1)
    ids, shift = torch.cat([ids, filler], dim=1), 0
    if side == "left":
        ids, mask, shift = ids.roll(padding, 1), mask.roll(padding, 1), padding
    last = shift + len(clean) - 1

    def corrupt(module, args, out):
        out = out.clone()
        out[1:, shift + first : shift + first + noise.shape[1]] += noise.to(out)
        return out

    def restore(token):
        def hook(module, args, out):
            whole = out[0] if isinstance(out, tuple) else out
            whole = whole.clone()
            whole[1:, shift + token] = whole[0, shift + token]
            return (whole, *out[1:]) if isinstance(out, tuple) else whole

        return hook

    with torch.no_grad(), ExitStack() as stack:
        handles = [model.get_input_embeddings().register_forward_hook(corrupt)]
        for part, layer, token in states:
            module = _module(model, part, layer)
            handles.append(module.register_forward_hook(restore(token)))
        for handle in handles:
            stack.callback(handle.remove)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
    return float(out.logits[1:, last].float().softmax(-1)[:, answer].mean())


def embedding_deviation(model: PreTrainedModel, subjects: Sequence[Sequence[int]]) -> float:
    """As ROME's `collect_embedding_std`: the whole model reads every subject by itself."""
    seen: list[Tensor] = []
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, out: seen.append(out[0])
    )
    with torch.no_grad():
        for ids in subjects:
            model(input_ids=torch.tensor([list(ids)]))
    handle.remove()
    return float(torch.cat(seen).std())


def _module(model: PreTrainedModel, part: str, layer: int):
    block, family = blocks(model)[layer], family_of(model)
    if part == "block":
        return block
    after = {"attn": "post_attention_layernorm", "mlp": "post_feedforward_layernorm"}[part]
    # Gemma 2 normalises what attention and the MLP add.
    if model.config.model_type.startswith(("gemma2", "gemma3")):
        return block.get_submodule(after)
    return block.get_submodule({"attn": family.attention, "mlp": family.mlp}[part])


def window_of(layer: int, window: int, layers: int) -> range:
    """ROME's window of layers around one."""
    return range(max(0, layer - window // 2), min(layers, layer - (-window // 2)))
