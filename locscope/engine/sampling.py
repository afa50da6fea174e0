"""Seeded samples from a model: neutral text in its own words, and prefixes for augmentation."""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from locscope.engine.blocks import logits
from locscope.engine.decode import Speaker
from locscope.models.parts import body


@torch.no_grad()
def sample_texts(speaker: Speaker, count: int, tokens: int, seed: int) -> tuple[str, ...]:
    """`count` texts of at most `tokens` tokens drawn at temperature 1, each from the start token.

    A text ends at its first stop token. Draws happen on the CPU, so a seed gives the same texts on
    every device up to rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((count, 1), _start_token(speaker), device=speaker.model.device)
    cache, said = DynamicCache(config=speaker.model.config), []
    for step in range(tokens):
        positions = torch.full((count, 1), step, device=ids.device)
        out = body(speaker.model)(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
        )
        chances = logits(speaker.model, out.last_hidden_state[:, -1]).softmax(-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=generator)
        said.append(drawn)
        ids = drawn.to(ids.device)
    return tuple(_text(speaker, row) for row in torch.cat(said, dim=1).tolist())


def _start_token(speaker: Speaker) -> int:
    bos = speaker.tokenizer.bos_token_id
    return bos if isinstance(bos, int) else speaker.stops[0]


def _text(speaker: Speaker, ids: Sequence[int]) -> str:
    ends = [i for i, token in enumerate(ids) if token in speaker.stops]
    said = list(ids[: ends[0]] if ends else ids)
    return str(speaker.tokenizer.decode(said, skip_special_tokens=True)).strip()
