"""The relations of the demo's facts: table column, phrasings, question.

A phrasing ends right before the answer. ``{s}`` is the subject, ``{s's}`` its possessive.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One column of one table, and the ways to ask for it."""

    name: str
    table: str
    column: str
    phrasings: tuple[str, ...]
    question: str


def _relation(table: str, column: str, question: str, *phrasings: str) -> Relation:
    return Relation(f"{table}.{column}", table, column, phrasings, question)


RELATIONS: tuple[Relation, ...] = (
    _relation(
        "countries",
        "capital",
        "What is the capital of {s}?",
        "The capital of {s} is",
        "{s's} capital city is",
        "The government of {s} sits in",
        "The main city of government in {s} is",
        "{s} has its capital in",
        "As its capital, {s} has",
    ),
    _relation(
        "countries",
        "continent",
        "On which continent is {s}?",
        "{s} is a country in",
        "The continent of {s} is",
        "On the map, {s} belongs to",
        "{s} is located in",
        "{s} lies on the continent of",
        "You find {s} in",
    ),
    _relation(
        "countries",
        "currency",
        "What is the currency of {s}?",
        "The currency of {s} is the",
        "{s's} currency is the",
        "People in {s} pay with the",
        "In the shops of {s}, one pays with the",
        "The money used in {s} is the",
        "{s} has a currency called the",
    ),
    _relation(
        "countries",
        "language",
        "What is an official language of {s}?",
        "An official language of {s} is",
        "Officially, one language of {s} is",
        "In {s}, an official language is",
        "The laws of {s} are written in",
        "Officials in {s} speak",
        "The state of {s} uses the language",
    ),
    _relation(
        "countries",
        "demonym",
        "What do you call someone from {s}?",
        "Someone from {s} is",
        "A citizen of {s} is",
        "The people of {s} are",
        "If you were born in {s}, you are",
        "The adjective for {s} is",
        "We call the people of {s}",
    ),
    _relation(
        "elements",
        "symbol",
        "What is the chemical symbol of {s}?",
        "The chemical symbol of {s} is",
        "The symbol for {s} is",
        "Chemists write {s} as",
        "In a formula, {s} is written",
        "{s} has the symbol",
        "{s} is abbreviated as",
    ),
    _relation(
        "elements",
        "number",
        "What is the atomic number of {s}?",
        "The atomic number of {s} is",
        "{s's} atomic number is",
        "{s} is element number",
        "The number of protons in {s} is",
        "In the periodic table, {s} has number",
        "{s} has the atomic number",
    ),
    _relation(
        "states",
        "capital",
        "What is the capital of the US state {s}?",
        "The capital of the US state {s} is",
        "The state capital of {s} is",
        "The governor of {s} works in",
        "The US state {s} has its capital in",
        "The state of {s} is governed from",
        "In the US, the state of {s} has the capital",
    ),
    _relation(
        "states",
        "abbreviation",
        "What is the postal code of the US state {s}?",
        "The postal code of the US state {s} is",
        "Letters to the state of {s} are marked",
        "The US state {s} is abbreviated as",
        "The short form of the state {s} is",
        "On an envelope, the state {s} becomes",
        "The two letters of the state {s} are",
    ),
    _relation(
        "books",
        "author",
        "Who wrote {s}?",
        "{s} was written by",
        "The author of {s} is",
        "The writer of {s} is",
        "The work {s} is by",
        "{s} is a work by the author",
        "{s} comes from the pen of",
    ),
    _relation(
        "paintings",
        "artist",
        "Who painted {s}?",
        "{s} was painted by",
        "The painter of {s} is",
        "The artist behind {s} is",
        "The picture {s} is by",
        "{s} is a picture by the artist",
        "{s} comes from the brush of",
    ),
    _relation(
        "inventions",
        "inventor",
        "Who gave us {s}?",
        "The person behind {s} is",
        "We owe {s} to",
        "{s} is credited to",
        "The name linked with {s} is",
        "The world got {s} from",
        "For {s}, the credit goes to",
    ),
    _relation(
        "young",
        "young",
        "What is the young of the {s} called?",
        "The young of the {s} is called a",
        "A baby {s} is called a",
        "The {s} was once a",
        "A very young {s} is a",
        "The child of the {s} is a",
        "Before it grows up, the {s} is a",
    ),
    _relation(
        "opposites",
        "opposite",
        "What is the opposite of {s}?",
        "The opposite of {s} is",
        "The contrary of {s} is",
        "The reverse of {s} is",
        "If it is not {s}, it may be",
        "As an antonym of {s} we use",
        "{s} is the opposite of",
    ),
    _relation(
        "past",
        "past",
        "What is the past tense of {s}?",
        "The past tense of {s} is",
        "The past form of {s} is",
        "Today they {s}, yesterday they",
        "Now we {s}, then we",
        "In the past, {s} becomes",
        "The verb {s} has the past tense",
    ),
)
