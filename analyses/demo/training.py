"""The demo's architecture and training loop: plain AdamW on weighted cross-entropy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from analyses.demo.corpus import Batch

RATE, WARMUP, BETAS, DECAY, CLIP = 3e-3, 100, (0.9, 0.98), 0.01, 1.0


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> LlamaForCausalLM:
    """Return an untrained Llama: 10 blocks, width 128, 4 query heads on 2 key-value heads."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=10,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: linear warm-up, then a cosine down to zero."""
    warm = min(1.0, (step + 1) / WARMUP)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def loss_of(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the weighted mean token loss of one batch."""
    ids, weights = batch
    # The label of position i is token i + 1; weights belong to labels.
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def train(
    model: PreTrainedModel,
    source: Iterator[Batch],
    steps: int,
    report: Callable[[str], None],
    every: int = 100,
) -> float:
    """Train in place for so many steps; return the seconds it took."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps))
    model.train()
    started, total = time.perf_counter(), 0.0
    for step, batch in enumerate(islice(source, steps), start=1):
        loss = loss_of(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        rates.step()
        total += float(loss.detach())
        if step % every == 0:
            report(f"step {step}: loss {total / every:.4f}, {time.perf_counter() - started:.0f} s")
            total = 0.0
    return time.perf_counter() - started
