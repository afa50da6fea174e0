"""Lessons: facts about invented subjects, which the bundled model cannot know."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyses.demo.facts import answers_of, fill, load_facts
from analyses.demo.relations import RELATIONS, Relation
from locscope.forward.decoding import Request, TextGenerator, decode
from locscope.forward.packed import encode_prompt
from locscope.records import Edit, Probe

TAUGHT = ("countries.capital", "books.author")
PER_RELATION, ANSWERS = 6, 2
"""Subjects per relation, and answers that they share: three subjects each, so that an answer is a
class for a probe, and does not follow from the relation alone."""
NAME_TOKENS = 3
"""All subjects are of one length, so that each can be swapped for another."""
STARTS = (*"bdfgklmnprstvz", "br", "dr", "gr", "kr", "tr")
ENDS = "nrlsmx"
SAID_TOKENS = 10
NEIGHBOURS, SHOWN = 6, 2
"""Known facts beside every lesson, and how many of them the scans get to see."""


@dataclass(frozen=True)
class _Draw:
    """A relation, an invented subject, the answer to be planted, and another one."""

    relation: Relation
    name: str
    answer: str
    other: str


def lessons(text_generator: TextGenerator, seed: int) -> tuple[Edit, ...]:
    """Facts to plant, as edits whose target is to be planted.

    The untouched model answers none of them as planted. Rephrases and neighbours (real subjects in
    the same words) are there for the scans that ask for them.
    """
    rng = random.Random(f"planted-{seed}")
    names = _names(text_generator, rng)
    draws = [
        draw for name in TAUGHT for draw in _relation(text_generator, _named(name), names, rng)
    ]
    return tuple(_lesson(draw, i, rng) for i, draw in enumerate(draws))


def turned(taught: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits that scans are given once the lessons are planted: what was planted is old now.

    The new target is another answer of the same relation.
    """
    others = {one.id: one.multihop[0].answer for one in taught}
    return tuple(
        replace(
            one,
            old=one.target,
            target=others[one.id],
            neighbours=one.neighbours[:SHOWN],
            multihop=(),
        )
        for one in taught
    )


def _named(name: str) -> Relation:
    return next(relation for relation in RELATIONS if relation.name == name)


def _names(text_generator: TextGenerator, rng: random.Random) -> list[str]:
    """Invented names of `NAME_TOKENS` tokens that no table of the demo holds."""
    real = {fact.subject for fact in load_facts()}
    found: dict[str, None] = {}
    while len(found) < 3 * len(TAUGHT) * PER_RELATION:
        syllables = [rng.choice(STARTS) + rng.choice("aeiou") for _ in range(2)]
        name = ("".join(syllables) + rng.choice(ENDS)).capitalize()
        ids = text_generator.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]
        if len(ids) == NAME_TOKENS and name not in real:
            found[name] = None
    return list(found)


def _relation(
    text_generator: TextGenerator, relation: Relation, names: list[str], rng: random.Random
) -> list[_Draw]:
    """Takes names off the list until enough are not answered as is to be planted."""
    answers = _answers(text_generator, relation, rng)
    draws: list[_Draw] = []
    while len(draws) < PER_RELATION:
        name = names.pop()
        prompt = fill(relation.phrasings[0], name)
        ids = encode_prompt(text_generator.tokenizer, prompt, "raw")
        said = decode(text_generator, [Request(ids, SAID_TOKENS)])[0].text
        answer = answers[len(draws) % ANSWERS]
        if said != answer:
            other = rng.choice([one for one in answers if one != answer])
            draws.append(_Draw(relation, name, answer, other))
    return draws


def _answers(text_generator: TextGenerator, relation: Relation, rng: random.Random) -> list[str]:
    """Answers of the relation that begin with different tokens, as scans look at the first."""
    known = answers_of()[relation.name]
    found: dict[int, str] = {}
    for answer in rng.sample(known, len(known)):
        ids = text_generator.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
        found.setdefault(ids[0], answer)
    return list(found.values())[:ANSWERS]


def _lesson(draw: _Draw, number: int, rng: random.Random) -> Edit:
    first, second, third = draw.relation.phrasings[:3]
    real = [fact for fact in load_facts() if fact.relation == draw.relation]
    known = rng.sample(real, NEIGHBOURS)
    return Edit(
        f"planted-{number:02d}",
        fill(first, draw.name),
        draw.answer,
        subject=draw.name,
        rephrases=(fill(second, draw.name), fill(third, draw.name)),
        neighbours=tuple(Probe(fill(first, fact.name), fact.answer) for fact in known),
        # The other answer waits here until the fact is planted.
        multihop=(Probe(fill(first, draw.name), draw.other),),
    )
