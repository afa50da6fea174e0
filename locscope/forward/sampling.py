"""Seeded samples from a model: neutral text in its own words, and prefixes for augmentation."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from locscope.forward.batching import in_batches
from locscope.forward.decoding import TextGenerator
from locscope.forward.head import logits
from locscope.forward.prompts import next_logits, prompts_of
from locscope.models.parts import body


@torch.no_grad()
def sample_texts(
    text_generator: TextGenerator, count: int, tokens: int, seed: int
) -> tuple[str, ...]:
    """`count` texts of at most `tokens` tokens drawn at temperature 1, each from the start token.

    A text ends at its first stop token. Draws happen on the CPU, so a seed gives the same texts on
    every device up to rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((count, 1), _start_token(text_generator), device=text_generator.model.device)
    cache, columns = DynamicCache(config=text_generator.model.config), []
    for step in range(tokens):
        positions = torch.full((count, 1), step, device=ids.device)
        out = body(text_generator.model)(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
        )
        # On the CPU, where a seed draws the same on every machine.
        chances = logits(text_generator.model, out.last_hidden_state[:, -1]).softmax(-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=generator)
        columns.append(drawn)
        ids = drawn.to(ids.device)
    return tuple(_text(text_generator, row) for row in torch.cat(columns, dim=1).tolist())


@torch.no_grad()
def sample_after(
    model: PreTrainedModel,
    prompts: Sequence[tuple[int, ...]],
    counts: Sequence[int],
    seed: int,
    tokens_at_once: int = 16384,
) -> tuple[tuple[int, ...], ...]:
    """So many tokens drawn at temperature 1 behind each prompt; stop tokens end nothing.

    Every prompt has random numbers of its own, drawn on the CPU, so that neither the batch nor the
    device changes what is drawn, up to rounding.
    """
    drawn = [
        np.random.default_rng([seed, *prompt]).random(count)
        for prompt, count in zip(prompts, counts, strict=True)
    ]
    rows = [list(prompt) for prompt in prompts]

    def next_tokens(batch: Sequence[int]) -> list[int]:
        scored = next_logits(model, prompts_of(model, [rows[i] for i in batch]))
        reached = scored.cpu().double().softmax(-1).cumsum(-1)
        wanted = torch.tensor([[drawn[i][len(rows[i]) - len(prompts[i])]] for i in batch])
        # The last sum may end a rounding below 1.
        return torch.searchsorted(reached, wanted * reached[:, -1:], right=True)[:, 0].tolist()

    for step in range(max(counts, default=0)):
        going = [i for i, count in enumerate(counts) if count > step]
        tokens = in_batches(
            going, next_tokens, size=lambda i: len(rows[i]), tokens_at_once=tokens_at_once
        )
        for i, token in zip(going, tokens, strict=True):
            rows[i].append(token)
    return tuple(tuple(row[len(p) :]) for row, p in zip(rows, prompts, strict=True))


def _start_token(text_generator: TextGenerator) -> int:
    bos = text_generator.tokenizer.bos_token_id
    return bos if isinstance(bos, int) else text_generator.stops[0]


def _text(text_generator: TextGenerator, ids: Sequence[int]) -> str:
    ends = [i for i, token in enumerate(ids) if token in text_generator.stops]
    before_stop = list(ids[: ends[0]] if ends else ids)
    return str(text_generator.tokenizer.decode(before_stop, skip_special_tokens=True)).strip()
