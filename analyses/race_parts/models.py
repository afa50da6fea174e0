"""Models of our own making: `gpt2` and `neox` are trained, `demo+3` and its like have blind blocks.

Trained ones learn the bundled model's corpus with its tokenizer, so that the edits fit. A blind
block sees two channels of the residual stream, so it cannot tell facts apart, and writes next to
nothing, so the model answers as before. It can be tuned like any other, but to no use: the best
layers of such a model are not at its top.
"""

import shutil
import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPTNeoXConfig,
    LlamaForCausalLM,
    PretrainedConfig,
)

import locscope
from analyses.demo import saving, training
from analyses.demo.corpus import Corpus, Encoder, batches

SEEN = 2
"""Channels that a blind block sees."""
QUIET = 0.05
"""Scale of what it writes, beside weights as they are initialised."""
STEPS, BATCH, SEED, WIDTH, HEADS, POSITIONS = 2600, 128, 1, 128, 4, 512
"""Of the trained models."""
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(n_positions=POSITIONS, n_embd=WIDTH, n_layer=12, n_head=HEADS),
    "neox": GPTNeoXConfig(
        hidden_size=WIDTH,
        num_hidden_layers=8,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=POSITIONS,
    ),
}


def made(name: str, folder: Path) -> str:
    """What --model takes for this name; a model of our own is made where the folder has none."""
    base, plus, count = name.partition("+")
    target = folder / name
    if name not in CONFIGS and not count.isdecimal():
        return name
    if not target.exists():
        partial = folder / f".{name}"
        shutil.rmtree(partial, ignore_errors=True)
        if plus:
            with_blind_blocks(_directory(base), partial, int(count))
        else:
            trained(CONFIGS[name], _directory("demo"), partial, STEPS)
        partial.rename(target)
    return str(target)


def _directory(name: str) -> Path:
    """Where the files of a model lie that is known by name."""
    directory = locscope.load_model(name, device="cpu").directory
    assert directory is not None, f"{name} has no files"
    return directory


def trained(config: PretrainedConfig, source: Path, target: Path, steps: int) -> Path:
    """A model that learned the corpus with the tokenizer of `source`, saved with all files."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    config = deepcopy(config)
    config.vocab_size = len(tokenizer)
    for special in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, special, getattr(tokenizer, special))
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_config(config)
    examples = batches(Corpus(0), Encoder(tokenizer), BATCH)
    training.train(model, examples, steps, lambda line: print(line, file=sys.stderr, flush=True))
    saving.save(model, tokenizer, target, seed=0)
    return target


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
