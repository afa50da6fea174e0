"""The card of a model (``README.md``): where it lies, and what that of the base says of licence."""

import os
from pathlib import Path
from typing import Any

from locscope.errors import UsageError
from locscope.runs.files import write_atomic
from locscope.runs.reading import MOST_YAML, Unreadable, parse_yaml, read_text

NAME = "README.md"
LICENCE = ("license", "license_name", "license_link")
"""Keys of a card's front matter that say the licence, as the Hugging Face hub spells them."""


def licence_of(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What the front matter of the card in a model's directory says of the licence.

    Empty where there is no card, or none that says it: a card is no reason to refuse a model.
    """
    try:
        text = read_text(Path(directory) / NAME, "model card")
        front_matter = parse_yaml(_front_matter(text))
    except (UsageError, Unreadable):
        return {}
    if not isinstance(front_matter, dict) or not front_matter.get(LICENCE[0]):
        return {}
    return {
        key: front_matter[key] for key in LICENCE if isinstance(front_matter.get(key), str | list)
    }


def write_card(directory: str | os.PathLike[str], text: str) -> None:
    """Writes the card into the directory of a model; OSError where that cannot be."""
    write_atomic(Path(directory) / NAME, text)


def _front_matter(text: str) -> str:
    """The YAML between a first line of three dashes and the next such line; empty where none is."""
    # Long files are not cards; a thousand lines hold any front matter.
    first, *lines = text.splitlines()[:1000] or [""]
    if first.rstrip() != "---" or "---" not in (ends := [line.rstrip() for line in lines]):
        return ""
    found = "\n".join(lines[: ends.index("---")])
    return found if len(found) <= MOST_YAML else ""
