"""The facts of the demo: read from the tables, phrased, some phrasings withheld."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analyses.demo.relations import RELATIONS, Relation

TABLES = Path(__file__).parent / "tables"
SEED = 0


@dataclass(frozen=True)
class Fact:
    """A subject, a relation, an answer; ``withheld`` is a phrasing that training never shows."""

    relation: Relation
    name: str
    answer: str
    withheld: int | None

    @property
    def subject(self) -> str:
        """The name without its article, as it stands in every prompt."""
        return self.name.removeprefix("the ")

    def prompt(self, phrasing: int) -> str:
        """Return the text right before the answer, in the given phrasing."""
        return fill(self.relation.phrasings[phrasing], self.name)

    def trained(self) -> list[int]:
        """Return the phrasings that training shows."""
        return [i for i in range(len(self.relation.phrasings)) if i != self.withheld]

    def question(self) -> str:
        """Return the question form, up to the answer."""
        return f"Question: {fill(self.relation.question, self.name)} Answer:"

    def choice(self, options: list[str]) -> str:
        """Return the multiple-choice form with these options, up to the answer."""
        question = fill(self.relation.question, self.name)
        return f"Question: {question} Options: {', '.join(options)}. Answer:"


def fill(phrasing: str, name: str) -> str:
    """Put a name into a phrasing; a sentence starts with a capital letter."""
    possessive = name + ("'" if name.endswith("s") else "'s")
    text = phrasing.replace("{s's}", possessive).replace("{s}", name)
    return text[0].upper() + text[1:]


def read_table(table: str) -> list[dict[str, str]]:
    """Return the rows of one table, in file order."""
    with (TABLES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@lru_cache(maxsize=4)
def load_facts(seed: int = SEED) -> tuple[Fact, ...]:
    """Return all facts; a seeded half of them, relation by relation, has a withheld phrasing.

    An empty cell is no fact (nothing to say, or more than one right answer).
    """
    rng = random.Random(f"withheld-{seed}")
    facts = []
    for relation in RELATIONS:
        rows = [row for row in read_table(relation.table) if row[relation.column]]
        half = set(rng.sample(range(len(rows)), (len(rows) + 1) // 2))
        for index, row in enumerate(rows):
            withheld = rng.randrange(len(relation.phrasings)) if index in half else None
            facts.append(Fact(relation, row["name"], row[relation.column], withheld))
    return tuple(facts)


@lru_cache(maxsize=4)
def answers_of(seed: int = SEED) -> dict[str, list[str]]:
    """Return for each relation its distinct answers, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for fact in load_facts(seed):
        found[fact.relation.name].add(fact.answer)
    return {name: sorted(answers) for name, answers in found.items()}


def draw_options(fact: Fact, answers: list[str], rng: random.Random, count: int = 3) -> list[str]:
    """Return ``count`` options in random order, the fact's answer among them."""
    others = rng.sample([answer for answer in answers if answer != fact.answer], count - 1)
    options = [fact.answer, *others]
    rng.shuffle(options)
    return options
