"""An edit: what shall change, and what shall not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """A prompt with the answer that is stated for it (empty where none is).

    `kind` tells forms apart: `question`, `choice`; empty for neighbours and multi-hop questions.
    """

    prompt: str
    answer: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Edit:
    """A prompt and its new target, with whatever the edit set has for judging it.

    `old` is the answer that the data set states for the time before (empty where it states none).
    The answers of `forms` and `multihop` are those after the edit, those of `neighbours` stay.
    """

    id: str
    prompt: str
    target: str
    subject: str = ""
    old: str = ""
    rephrases: tuple[str, ...] = ()
    neighbours: tuple[Probe, ...] = ()
    forms: tuple[Probe, ...] = ()
    multihop: tuple[Probe, ...] = ()
