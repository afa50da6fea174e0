"""Writes small tasks that a pretrained model of 100M weights and more can do.

    python -m analyses.abilities FILE

For `--abilities FILE`: what an edit leaves of them is retention. Each item shows three solved ones
of its task and asks for the next; nothing in them is about people, places or works, which edits
are about. Items that the untouched model fails count for nothing.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Pair = Sequence[str]
SHOTS, MOST = 3, 10


def _pairs(text: str) -> tuple[Pair, ...]:
    return tuple(tuple(pair.split(":")) for pair in text.split())


TASKS: Mapping[str, tuple[Pair, ...]] = {
    "opposite": _pairs(
        "hot:cold up:down big:small fast:slow old:new long:short open:closed dark:light "
        "wet:dry high:low hard:soft rich:poor full:empty early:late left:right good:bad "
        "happy:sad inside:outside before:after win:lose above:below day:night"
    ),
    "plural": _pairs(
        "dog:dogs box:boxes city:cities tree:trees bus:buses baby:babies house:houses "
        "glass:glasses lady:ladies car:cars dish:dishes fly:flies book:books fox:foxes "
        "story:stories hand:hands watch:watches party:parties child:children man:men foot:feet "
        "mouse:mice"
    ),
    "past": _pairs(
        "walk:walked stop:stopped try:tried play:played plan:planned carry:carried jump:jumped "
        "hug:hugged cry:cried call:called drop:dropped study:studied go:went see:saw eat:ate "
        "run:ran take:took give:gave write:wrote sing:sang buy:bought make:made"
    ),
    "comparative": _pairs(
        "tall:taller big:bigger easy:easier small:smaller hot:hotter happy:happier long:longer "
        "thin:thinner heavy:heavier cold:colder wet:wetter busy:busier fast:faster sad:sadder "
        "early:earlier strong:stronger good:better bad:worse young:younger dry:drier"
    ),
    "capital letters": _pairs(
        "cat:CAT milk:MILK stone:STONE tree:TREE water:WATER book:BOOK house:HOUSE green:GREEN "
        "light:LIGHT seven:SEVEN music:MUSIC bread:BREAD small:SMALL river:RIVER horse:HORSE "
        "paper:PAPER night:NIGHT chair:CHAIR money:MONEY black:BLACK"
    ),
    "next number": _pairs(
        "3:4 11:12 27:28 5:6 8:9 14:15 19:20 23:24 31:32 36:37 42:43 49:50 55:56 58:59 64:65 "
        "69:70 73:74 88:89 99:100 120:121"
    ),
    "to digits": _pairs(
        "two:2 nine:9 twelve:12 three:3 five:5 seven:7 eight:8 ten:10 eleven:11 thirteen:13 "
        "fifteen:15 eighteen:18 twenty:20 thirty:30 forty:40 fifty:50 sixty:60 ninety:90 "
        "hundred:100 four:4"
    ),
    "kind": _pairs(
        "dog:animal apple:fruit red:colour cow:animal banana:fruit blue:colour horse:animal "
        "pear:fruit green:colour cat:animal grape:fruit yellow:colour tiger:animal orange:fruit "
        "purple:colour wolf:animal cherry:fruit black:colour rabbit:animal peach:fruit pink:colour"
    ),
    "young": _pairs(
        "dog:puppy cat:kitten cow:calf sheep:lamb horse:foal pig:piglet lion:cub bear:cub "
        "goat:kid duck:duckling frog:tadpole hen:chick deer:fawn wolf:pup swan:cygnet"
    ),
    "Spanish": _pairs(
        "house:casa water:agua dog:perro cat:gato book:libro red:rojo friend:amigo day:día "
        "night:noche sun:sol milk:leche bread:pan hand:mano head:cabeza family:familia city:ciudad "
        "white:blanco black:negro two:dos three:tres"
    ),
}


def items() -> list[dict[str, object]]:
    """All items, as `--abilities` reads them."""
    return [
        {"task": task, "prompt": _prompt(pairs, word), "answer": answer, "chance": _chance(pairs)}
        for task, pairs in TASKS.items()
        for word, answer in pairs[SHOTS : SHOTS + MOST]
    ]


def _prompt(pairs: Sequence[Pair], word: str) -> str:
    shots = [f"{one} -> {other}" for one, other in pairs[:SHOTS]]
    return "\n".join([*shots, f"{word} ->"])


def _chance(pairs: Sequence[Pair]) -> float:
    """How often one of the answers is right where a few are asked for over and over, else 0."""
    answers = {answer for _, answer in pairs}
    return 1 / len(answers) if len(answers) < len(pairs) / 2 else 0.0


def main() -> None:
    """Writes the file that was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    file.write_text(json.dumps(items(), ensure_ascii=False, indent=1), encoding="utf-8")
    print(f"{file}: {len(items())} items of {len(TASKS)} tasks")


if __name__ == "__main__":
    main()
