"""What the demo knows: greedy answers, shares of right ones, perplexity of neutral text."""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from analyses.demo.facts import Fact, answers_of, draw_options

MOST_TOKENS = 12
_STOP = re.compile(r"[.\n]")


@torch.inference_mode()
def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    batch_size: int = 512,
) -> list[str]:
    """Return the greedy answer to each prompt: up to EOS, newline or full stop, stripped.

    Prompts of one length go together, so that nothing is padded.
    """
    model.eval()
    encoded = tokenizer(prompts)["input_ids"]
    groups: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(encoded):
        groups[len(ids)].append(index)
    found = [""] * len(prompts)
    for indices in groups.values():
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            ids = torch.tensor([encoded[i] for i in chosen])
            for i, text in zip(chosen, _continue(model, tokenizer, ids), strict=True):
                found[i] = text
    return found


def _continue(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor
) -> list[str]:
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=MOST_TOKENS
    )
    texts = tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
    return [_STOP.split(text)[0].strip() for text in texts]


def accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: list[tuple[str, str]]
) -> float:
    """Return the share of (prompt, answer) pairs that are answered right."""
    given = answers(model, tokenizer, [prompt for prompt, _ in asked])
    return sum(a == b for a, (_, b) in zip(given, asked, strict=True)) / len(asked)


def trained_pairs(facts: tuple[Fact, ...]) -> list[tuple[str, str]]:
    """Return prompt and answer of every fact in every phrasing that training showed."""
    return [(fact.prompt(i), fact.answer) for fact in facts for i in fact.trained()]


def withheld_pairs(facts: tuple[Fact, ...]) -> list[tuple[str, str]]:
    """Return prompt and answer of every fact in the phrasing withheld from training."""
    return [(f.prompt(f.withheld), f.answer) for f in facts if f.withheld is not None]


def question_pairs(facts: tuple[Fact, ...]) -> list[tuple[str, str]]:
    """Return every fact in its question form."""
    return [(fact.question(), fact.answer) for fact in facts]


def choice_pairs(facts: tuple[Fact, ...], seed: int) -> list[tuple[str, str]]:
    """Return every fact in its multiple-choice form, with seeded distractors."""
    rng, known = random.Random(f"choices-{seed}"), answers_of(seed)
    return [
        (fact.choice(draw_options(fact, known[fact.relation.name], rng)), fact.answer)
        for fact in facts
    ]


@torch.inference_mode()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: list[str]
) -> float:
    """Return exp of the mean loss over all tokens after BOS, EOS not counted."""
    total, count = 0.0, 0
    for line in lines:
        ids = torch.tensor([tokenizer(line)["input_ids"]])
        logits = model(ids).logits.float()
        total += float(cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    return math.exp(total / count)
