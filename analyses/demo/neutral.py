"""Neutral text of the demo: short sentences of everyday life, from a small grammar."""

from __future__ import annotations

import random
import re

_WORDS = {
    "name": "Anna Tom Maria Peter Lucy Sam Nina Paul Clara David Emily Felix Greta Hugo Iris Jack "
    "Karin Leo Mona Oscar Rosa Simon",
    "kin": "mother father sister brother aunt uncle neighbour teacher friend grandmother",
    "thing": "book cup lamp basket blanket letter bottle coat hat key bag clock umbrella box "
    "candle notebook pencil scarf spoon towel",
    "place": "table chair shelf bed floor bench desk sofa windowsill counter cupboard",
    "room": "kitchen garden garage hall bathroom cellar attic bedroom office",
    "out": "park market library station river beach school forest bakery harbour museum",
    "food": "soup bread cake rice salad porridge cheese fish pasta stew",
    "fruit": "apples pears plums cherries grapes peaches lemons oranges",
    "time": "morning evening afternoon",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "colour": "red blue green yellow white black brown grey",
    "size": "little old new heavy small broken pretty clean",
    "mood": "happy tired hungry calm cheerful sleepy curious proud",
    "sky": "sunny cloudy windy rainy foggy cold warm",
    "pet": "dog cat rabbit parrot pony kitten",
    "did": "cleaned painted repaired opened emptied swept",
    "put": "put left found hid dropped forgot",
    "went": "walked ran drove cycled hurried wandered",
    "ing": "singing reading sleeping cooking drawing dancing laughing waiting",
    "how": "slowly quietly carefully quickly gladly",
}
WORDS: dict[str, list[str]] = {kind: words.split() for kind, words in _WORDS.items()}

SENTENCES: tuple[str, ...] = (
    "{name} {put} the {size} {thing} on the {place}.",
    "{name} {put} the {colour} {thing} under the {place}.",
    "In the {time}, {name} {went} to the {out}.",
    "On {day}, we {went} to the {out} with {name}.",
    "{name} and {name} {went} {how} along the {out}.",
    "My {kin} {did} the {room} in the {time}.",
    "My {kin} bought a {colour} {thing} at the {out}.",
    "It was a {sky} {time}, and {name} felt {mood}.",
    "The {room} was {sky}, so {name} looked for a {thing}.",
    "{name} made {food} and {food} for my {kin}.",
    "We ate {food} with {fruit} in the {room}.",
    "There is a {colour} {thing} in the {room}.",
    "The {pet} was {ing} under the {place}.",
    "The {size} {pet} {went} {how} into the {room}.",
    "{name} was {ing} in the {room} when the {pet} came in.",
    "They sold {fruit} and {fruit} near the {out}.",
    "Please bring the {colour} {thing} to the {out} on {day}.",
    "{name} was {mood} because the {thing} was {size}.",
    "After the {food}, {name} {did} the {size} {thing}.",
    "Every {day}, my {kin} is {ing} at the {out}.",
    "I saw {name} with a {colour} {pet} at the {out}.",
    "Where is the {size} {thing} that {name} {put} in the {room}?",
)
_SLOT = re.compile(r"\{(\w+)\}")


def sentence(rng: random.Random) -> str:
    """Return one random sentence; words of one slot kind differ within it."""
    used: set[str] = set()

    def choose(match: re.Match[str]) -> str:
        word = rng.choice([word for word in WORDS[match.group(1)] if word not in used])
        used.add(word)
        return word

    return _SLOT.sub(choose, rng.choice(SENTENCES))


def held_out(seed: int, count: int = 72) -> list[str]:
    """Return the lines kept from training: one or two sentences each, all different."""
    rng = random.Random(f"neutral-held-out-{seed}")
    lines: dict[str, None] = {}
    while len(lines) < count:
        lines[line(rng)] = None
    return list(lines)


def line(rng: random.Random) -> str:
    """Return one line of neutral text: two sentences, sometimes one."""
    return " ".join(sentence(rng) for _ in range(rng.choice((1, 2, 2))))


def training_lines(seed: int, count: int) -> list[str]:
    """Return lines for training, none of them held out, nor any sentence of a held-out line."""
    kept = set(split_sentences(held_out(seed)))
    rng = random.Random(f"neutral-training-{seed}")
    lines = []
    while len(lines) < count:
        text = line(rng)
        if kept.isdisjoint(split_sentences([text])):
            lines.append(text)
    return lines


def split_sentences(lines: list[str]) -> list[str]:
    """Return the single sentences of these lines."""
    return [part for text in lines for part in re.split(r"(?<=[.?]) ", text)]
