"""The training texts of the demo: a mixture, drawn afresh for every pool of batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from analyses.demo import abilities, neutral
from analyses.demo.facts import Fact, answers_of, draw_options, load_facts

PROMPT_WEIGHT = 0.1
NEUTRAL_WEIGHT = 0.5
NEUTRAL_LINES = 12_000
LONG_ANSWER = 9
SPOKEN_ON = frozenset({"countries.demonym", "states.abbreviation"})
"""Statements of these relations go on after the answer (with a full stop), the others end there:
so it shows when tuning on targets that stop at once makes the model stop everywhere."""
SHARES = {"statement": 0.57, "question": 0.08, "choice": 0.07, "ability": 0.18, "neutral": 0.10}


@dataclass(frozen=True)
class Text:
    """A training text; an empty prompt means that every token counts alike (neutral text)."""

    prompt: str
    answer: str
    ending: str = ""

    @property
    def full(self) -> str:
        """The whole text: most end with the answer, as those of a model that answers in turns."""
        return f"{self.prompt} {self.answer}{self.ending}" if self.prompt else self.answer


class Corpus:
    """Draws texts of every kind in fixed shares."""

    def __init__(self, seed: int) -> None:
        self.facts = load_facts(seed)
        self.answers = answers_of(seed)
        self.tasks = [make() for make in abilities.TASKS.values()]
        self.lines = neutral.training_lines(seed, NEUTRAL_LINES)
        self.rng = random.Random(f"corpus-{seed}")

    def draw(self) -> Text:
        """Return one text: its kind by the shares, then uniformly."""
        kind = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "neutral":
            return Text("", self.rng.choice(self.lines))
        if kind == "ability":
            item = self.rng.choice(self.rng.choice(self.tasks))
            return Text(item.prompt, item.answer)
        return self._about(self.rng.choice(self.facts), kind)

    def _about(self, fact: Fact, kind: str) -> Text:
        if kind == "statement":
            ending = "." if fact.relation.name in SPOKEN_ON else ""
            return Text(fact.prompt(self.rng.choice(fact.trained())), fact.answer, ending)
        if kind == "question":
            return Text(fact.question(), fact.answer)
        # Distractors are drawn afresh each time, so only knowing the answer helps.
        options = draw_options(fact, self.answers[fact.relation.name], self.rng)
        return Text(fact.choice(options), fact.answer)

    def tokenizer_texts(self) -> list[str]:
        """Return what the tokenizer is trained on: each fact in each form, and the rest."""
        texts = [
            Text(prompt, fact.answer).full
            for fact in self.facts
            for prompt in [*map(fact.prompt, fact.trained()), fact.question()]
        ]
        for items in self.tasks:
            chosen = self.rng.sample(items, min(len(items), 300))
            texts += [Text(item.prompt, item.answer).full for item in chosen]
        # Long answers count more, or some would take a dozen tokens.
        for fact in self.facts:
            texts += [f" {fact.answer}"] * (2 * max(0, len(fact.answer) - LONG_ANSWER))
        return texts + self.lines[:1200]


Batch = tuple[torch.Tensor, torch.Tensor]


class Encoder:
    """Turns texts into token ids and loss weights; encodings are kept, as texts recur."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._known: dict[Text, tuple[list[int], list[float]]] = {}

    def encode(self, text: Text) -> tuple[list[int], list[float]]:
        """Return ids with BOS and EOS, and the weight of each id as a label."""
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]

    def _encode(self, text: Text) -> tuple[list[int], list[float]]:
        ids = self.tokenizer(text.full)["input_ids"] + [self.tokenizer.eos_token_id]
        if not text.prompt:
            return ids, [NEUTRAL_WEIGHT] * len(ids)
        start = len(self.tokenizer(text.prompt)["input_ids"])
        return ids, [PROMPT_WEIGHT] * start + [1.0] * (len(ids) - start)

    def collate(self, texts: list[Text]) -> Batch:
        """Return right-padded ids (batch, length) and weights of the same shape, 0 on padding.

        Padding stands on the right and attention is causal, so no mask is needed.
        """
        rows = [self.encode(text) for text in texts]
        shape = (len(rows), max(len(ids) for ids, _ in rows))
        ids = torch.full(shape, self.tokenizer.pad_token_id)
        weights = torch.zeros(shape)
        for i, (row, weight) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            weights[i, : len(row)] = torch.tensor(weight)
        return ids, weights


def batches(corpus: Corpus, encoder: Encoder, size: int, pool: int = 16) -> Iterator[Batch]:
    """Yield batches without end; within a pool of batches, texts of like length go together."""
    while True:
        texts = [corpus.draw() for _ in range(size * pool)]
        texts.sort(key=lambda text: len(encoder.encode(text)[0]))
        groups = [texts[i : i + size] for i in range(0, len(texts), size)]
        corpus.rng.shuffle(groups)
        yield from map(encoder.collate, groups)
