"""Models of our own making whose best layers are not at the top: the bundled one with blind blocks.

A blind block sees two channels of the residual stream, so it cannot tell facts apart, and writes
next to nothing, so the model answers as before. It can be tuned like any other, but to no use.
"""

import shutil
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaForCausalLM

SEEN = 2
"""Channels that a blind block sees."""
QUIET = 0.05
"""Scale of what it writes, beside weights as they are initialised."""


def with_blind_blocks(source: Path, target: Path, count: int) -> Path:
    """The Llama model of a directory with so many blind blocks on top, saved with all its files."""
    model = LlamaForCausalLM.from_pretrained(source)
    torch.manual_seed(count)
    depth = len(model.model.layers)
    model.config.num_hidden_layers = depth + count
    wider = LlamaForCausalLM(model.config).to(model.dtype)
    wider.load_state_dict(model.state_dict(), strict=False)
    wider.tie_weights()
    for block in list(wider.model.layers)[depth:]:
        _blind(block)
    shutil.copytree(source, target, dirs_exist_ok=True)
    wider.save_pretrained(target)
    return target


@torch.no_grad()
def _blind(block: nn.Module) -> None:
    for norm in (block.input_layernorm, block.post_attention_layernorm):
        norm.weight[SEEN:] = 0
    for writer in (block.self_attn.o_proj, block.mlp.down_proj):
        writer.weight.mul_(QUIET)
