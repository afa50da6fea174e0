import numpy as np
import pytest
import torch
from worlds import frozen

from locscope.forward.sampling import sample_after

PROMPTS = [(0, 9, 40, 11), (0, 33), (0, 9, 40, 11, 12, 13, 14), (5, 6, 7)]
COUNTS = [3, 5, 1, 0]


@torch.no_grad()
def slowly(model, prompt, count, seed):
    """One token after the other: the first whose cumulated probability is above the number."""
    said = list(prompt)
    for number in np.random.default_rng([seed, *prompt]).random(count):
        chances = model(torch.tensor([said])).logits[0, -1].double().softmax(-1)
        said.append(int((chances.cumsum(-1) <= number).sum()))
    return tuple(said[len(prompt) :])


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_tokens_are_drawn_from_the_model_whatever_the_batch(family):
    model = frozen(family)
    expected = tuple(
        slowly(model, prompt, count, 7) for prompt, count in zip(PROMPTS, COUNTS, strict=True)
    )
    assert sample_after(model, PROMPTS, COUNTS, 7) == expected
    assert sample_after(model, PROMPTS, COUNTS, 7, tokens_at_once=1) == expected
    assert sample_after(model, PROMPTS, COUNTS, 8) != expected


def test_tokens_come_as_often_as_they_are_likely():
    model, prompt = frozen("llama"), (0, 9, 40)
    drawn = [sample_after(model, [prompt], [1], seed)[0][0] for seed in range(400)]
    chances = model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    likely = int(chances.argmax())
    expected, spread = 400 * chances[likely], (400 * chances[likely] * (1 - chances[likely])) ** 0.5
    assert abs(drawn.count(likely) - expected) < 4 * spread
    assert len(set(drawn)) > 20


def test_no_prompts_give_nothing():
    assert sample_after(frozen("llama"), [], [], 0) == ()
