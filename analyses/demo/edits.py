"""Builds the demo's edits: counterfactual targets for facts that the model knows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

from analyses.demo.facts import Fact, answers_of, load_facts

# Edits per relation. Each leaves enough unedited facts over to serve as neighbours.
COUNTS = {
    "countries.capital": 78,
    "countries.currency": 36,
    "countries.language": 30,
    "countries.continent": 14,
    "elements.symbol": 28,
    "elements.number": 12,
    "states.capital": 24,
    "books.author": 24,
    "paintings.artist": 9,
    "inventions.inventor": 9,
}
REPHRASES, NEIGHBOURS = 3, 3
Ask = Callable[[list[str]], list[str]]


class EditBuilder:
    """Draws edits from the facts that the model recalls in every phrasing.

    ``ask`` returns the model's greedy answer to each prompt.
    """

    def __init__(self, ask: Ask, seed: int) -> None:
        self.ask = ask
        self.rng = random.Random(f"edits-{seed}")
        self.answers = answers_of(seed)
        self.known = self._known(load_facts(seed))
        self.chosen = self._choose()
        self.edited = set(self.chosen)
        self.spare = self._spare()
        self.used: set[str] = set()

    def build(self) -> list[dict[str, Any]]:
        """Return the edits, in random order, with their ids."""
        edits = [self._edit(fact) for fact in self.chosen]
        self._drop_unknown_forms(edits)
        self.rng.shuffle(edits)
        return [{"id": f"demo-{i:03d}", **edit} for i, edit in enumerate(edits, start=1)]

    def _known(self, facts: tuple[Fact, ...]) -> list[Fact]:
        counts = [len(fact.relation.phrasings) for fact in facts]
        prompts = [fact.prompt(i) for fact, n in zip(facts, counts, strict=True) for i in range(n)]
        given = iter(self.ask(prompts))
        rows = [list(islice(given, count)) for count in counts]
        return [fact for fact, row in zip(facts, rows, strict=True) if set(row) == {fact.answer}]

    def _choose(self) -> list[Fact]:
        chosen = []
        for name, count in COUNTS.items():
            facts = [fact for fact in self.known if fact.relation.name == name]
            chosen += self.rng.sample(facts, count)
        return chosen

    def _spare(self) -> dict[str, Iterator[Fact]]:
        """Return the unedited facts of each relation, taken in turn so that all serve alike."""
        facts = [fact for fact in self.known if fact not in self.edited]
        self.rng.shuffle(facts)
        return {
            name: cycle([fact for fact in facts if fact.relation.name == name]) for name in COUNTS
        }

    def _edit(self, fact: Fact) -> dict[str, Any]:
        target = self.rng.choice([a for a in self.answers[fact.relation.name] if a != fact.answer])
        phrasing = self.rng.choice(fact.trained())
        return {
            "prompt": fact.prompt(phrasing),
            "target": target,
            "subject": fact.subject,
            "old": fact.answer,
            "rephrases": self._rephrases(fact, phrasing),
            "neighbours": self._neighbours(fact, phrasing),
            "forms": self._forms(fact, target),
        }

    def _rephrases(self, fact: Fact, phrasing: int) -> list[str]:
        """Return other phrasings; the withheld one comes first where there is one."""
        others = [i for i in fact.trained() if i != phrasing]
        chosen = self.rng.sample(others, REPHRASES)
        if fact.withheld is not None:
            chosen = [fact.withheld, *chosen[:-1]]
        return [fact.prompt(i) for i in chosen]

    def _neighbours(self, fact: Fact, phrasing: int) -> list[dict[str, str]]:
        """Return prompts that must keep their answer: other subjects, and the same subject."""
        found = self._same_subject(fact)
        while len(found) < NEIGHBOURS:
            other = next(self.spare[fact.relation.name])
            # The phrasing of the edit itself is the hardest test, so it is tried first.
            order = [phrasing, *self.rng.sample(range(len(other.relation.phrasings)), 3)]
            fresh = [p for p in map(other.prompt, order) if p not in self.used]
            if fresh and other.subject != fact.subject:
                found.insert(0, self._neighbour(fresh[0], other))
        return found

    def _same_subject(self, fact: Fact) -> list[dict[str, str]]:
        others = [
            other
            for other in self.known
            if other.name == fact.name
            and other.relation.table == fact.relation.table
            and other.relation != fact.relation
            and other not in self.edited
        ]
        self.rng.shuffle(others)
        for other in others:
            fresh = [p for p in map(other.prompt, other.trained()) if p not in self.used]
            if fresh:
                return [self._neighbour(self.rng.choice(fresh), other)]
        return []

    def _neighbour(self, prompt: str, fact: Fact) -> dict[str, str]:
        # A prompt serves one edit only: shared neighbours would tie edits into one group.
        self.used.add(prompt)
        return {"prompt": prompt, "answer": fact.answer}

    def _forms(self, fact: Fact, target: str) -> list[dict[str, str]]:
        old_and_new = [fact.answer, target]
        others = [a for a in self.answers[fact.relation.name] if a not in old_and_new]
        options = [*old_and_new, self.rng.choice(others)]
        self.rng.shuffle(options)
        return [
            {"kind": "question", "prompt": fact.question(), "answer": target},
            {"kind": "choice", "prompt": fact.choice(options), "answer": target},
        ]

    def _drop_unknown_forms(self, edits: list[dict[str, Any]]) -> None:
        """Keep only the forms in which the model gives the old answer."""
        given = iter(self.ask([form["prompt"] for edit in edits for form in edit["forms"]]))
        for edit in edits:
            edit["forms"] = [form for form in edit["forms"] if next(given) == edit["old"]]
