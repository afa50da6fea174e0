"""Prompts with a place for the subject, as ROME writes them: filled, or refused."""

import re
from dataclasses import replace
from textwrap import shorten

from locscope.errors import UsageError
from locscope.records import Edit, Probe

SHOWN = 80
"""How many characters of a prompt an error shows."""
_PLACE = re.compile(r"\{(?:subject)?\}")


def filled(where: str, edit: Edit) -> Edit:
    """The edit with its subject written for {} in its prompts; itself where there is no {}.

    A UsageError names the row where there is no subject, or more than one place in a prompt.
    """

    def fill(kind: str, text: str) -> str:
        places = len(_PLACE.findall(text))
        if places == 0:
            return text
        if places > 1 or not edit.subject:
            raise UsageError(f"{where}: {_refusal(kind, text, places)}")
        return _PLACE.sub(lambda _: edit.subject, text)

    def probes(kind: str, asked: tuple[Probe, ...]) -> tuple[Probe, ...]:
        return tuple(replace(one, prompt=fill(kind, one.prompt)) for one in asked)

    made = replace(
        edit,
        prompt=fill("the prompt", edit.prompt),
        rephrases=tuple(fill("a rephrase", text) for text in edit.rephrases),
        neighbours=probes("a neighbour", edit.neighbours),
        forms=probes("another form", edit.forms),
        multihop=probes("a multi-hop question", edit.multihop),
    )
    return edit if made == edit else made


def _refusal(kind: str, text: str, places: int) -> str:
    text = shorten(text, SHOWN)
    if places > 1:
        return f"{kind} has {{}} {places} times ('{text}'); write the subject in where it belongs"
    return (
        f"{kind} has {{}} and there is no subject to fill in ('{text}'); write the subject in, or "
        "give it in the field 'subject'"
    )
