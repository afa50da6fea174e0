"""Texts of edits: when two count as the same, and prompts with {} filled with their subject."""

import re
from dataclasses import replace
from textwrap import shorten

from locscope.errors import UsageError
from locscope.records import Edit, Probe

SHOWN = 80
"""How many characters of a prompt an error shows."""
_BLANK = re.compile(r"\{(?:subject)?\}")
"""Where a template of ROME has its subject; some sets write {subject}."""


def key(text: str) -> str:
    """The text for comparing: case folded, outer spaces cut, runs of spaces made one."""
    return " ".join(text.casefold().split())


def subject_in(text: str, subject: str, start: int = 0) -> tuple[int, int] | None:
    """The characters of a subject in a text, from `start` on; None where it is not there.

    Taken is the subject as a word of its own and as written; else in another case; else within a
    word.

    >>> subject_in("The mother of Ann is", "ann")
    (14, 17)
    """
    if not subject:
        return None
    plain = re.escape(subject)
    for pattern in (rf"(?<!\w){plain}(?!\w)", plain):
        for flags in (re.NOFLAG, re.IGNORECASE):
            match = re.compile(pattern, flags).search(text, start)
            if match:
                return match.span()
    return None


def filled(where: str, edit: Edit) -> Edit:
    """The edit with its subject written for {} in its prompts; the same object if there is no {}.

    Raises UsageError, which names the row, where there is no subject or a prompt has two blanks.
    """

    def fill(kind: str, text: str) -> str:
        blanks = len(_BLANK.findall(text))
        if blanks == 0:
            return text
        # A subject with a blank of its own would be filled into itself when read back.
        if blanks > 1 or not edit.subject or _BLANK.search(edit.subject):
            raise UsageError(f"{where}: {_refusal(kind, text, blanks)}")
        # A function, as a backslash in a subject would be read as a group reference.
        return _BLANK.sub(lambda _: edit.subject, text)

    def probes(kind: str, unfilled: tuple[Probe, ...]) -> tuple[Probe, ...]:
        return tuple(replace(probe, prompt=fill(kind, probe.prompt)) for probe in unfilled)

    made = replace(
        edit,
        prompt=fill("the prompt", edit.prompt),
        rephrases=tuple(fill("a rephrase", text) for text in edit.rephrases),
        neighbours=probes("a neighbour", edit.neighbours),
        forms=probes("another form", edit.forms),
        multihop=probes("a multi-hop question", edit.multihop),
    )
    return edit if made == edit else made


def _refusal(kind: str, text: str, blanks: int) -> str:
    text = shorten(text, SHOWN)
    if blanks > 1:
        return f"{kind} has {{}} {blanks} times ('{text}'); write the subject in where it belongs"
    return (
        f"{kind} has {{}} and there is no subject to fill in ('{text}'); write the subject in, or "
        "give it in the field 'subject'"
    )
