"""What is done with edits alone, without a model and torch: checked, and written in our format.

`check` of a model and edits (`check.py`) says of the edits what is said here.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TypeVar

from locscope.edits import EditSet, read_edits, settled
from locscope.edits.checks import find_conflicts
from locscope.edits.enough import resolution_note, why_too_few
from locscope.edits.readers.own import row_of
from locscope.edits.splits import groups, shares_of, split
from locscope.edits.texts import subject_in
from locscope.errors import UsageError
from locscope.records import Edit
from locscope.runs.files import explained, write_atomic
from locscope.settings import SearchSettings

CHOOSE = "choose --conflicts last or drop"
UNSETTLED = f"needs one target for each prompt: {CHOOSE}"
SHOWN = 3
"""How many subjects that are not in their prompt are listed."""
WIDE = 80
"""Characters of a subject and of a prompt that are shown."""
LEFT_OUT = "scans that trace the subject, as causal-tracing, leave these out; a search uses them"
OF_MODELS = {"model", "parts", "device", "dtype", "offload", "trust_remote_code"}
"""Settings that ask for a model."""
ENDINGS = (".jsonl", ".json")
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One thing found out, and what to do about it where something is wrong."""

    name: str
    value: str


@dataclass(frozen=True)
class CheckResult:
    """All that was found.

    `usable` is whether `edit` can use the edits, `ready` whether a search would start, as far as
    edits and the shape of the model tell: what it answers and which abilities it has is seen once
    it is loaded.
    """

    usable: bool
    ready: bool
    lines: tuple[Line, ...]


def edits_alone(settings: SearchSettings) -> bool:
    """Whether a check is asked of a file of edits and of no model."""
    given = settings.model_fields_set
    return "edits" in given and not given & OF_MODELS


def check_edits(settings: SearchSettings) -> CheckResult:
    """What was read, what was left out and why, and whether a search could use it."""
    found = read_edits(settings.edits, limit=settings.limit, seed=settings.seed)
    conflicts = len(find_conflicts(found.edits))
    blocked = bool(conflicts) and settings.conflicts is None
    if not blocked:
        found = settled(found, settings.conflicts)
    lacking = f"a search {UNSETTLED}"
    if not blocked:
        # Split only to see whether it can be: the parts themselves are of no use here.
        splitting = partial(split, found.edits, settings.share, settings.seed)
        _, lacking = tried(len(found.edits), splitting)
    lines = (
        *about_edits(found),
        *about_conflicts(conflicts, settings),
        search_line(lacking, len(found.edits), settings.share),
        Line("model", "none was looked at: --model M says what can be tuned, memory and time"),
    )
    return CheckResult(not blocked, not lacking, lines)


def convert(source: str, output: Path, limit: int | None = None, seed: int = 0) -> EditSet:
    """Writes the edits of a source in our own format, one a line, and says what they were.

    Raises UsageError where they cannot be read, or the file is there already or cannot be written.
    """
    if output.suffix.lower() not in ENDINGS:
        raise UsageError(f"{output} is to be JSON, one edit a line: end it in {ENDINGS[0]}")
    if output.exists():
        raise UsageError(f"{output} is there already: choose another file")
    found = read_edits(source, limit=limit, seed=seed)
    lines = [json.dumps(row_of(edit), ensure_ascii=False) + "\n" for edit in found.edits]
    with explained(f"write {output}"):
        write_atomic(output, "".join(lines))
    return found


def about_edits(found: EditSet) -> list[Line]:
    """What was read of a file, what of it was not used, and what the edits have."""
    edits = found.edits
    return [
        Line("edits", f"{len(edits)} of {found.total} in {found.name} ({found.format} format)"),
        Line("with", _has(edits)),
        Line("groups", f"{len(groups(edits))} that share no subject, prompt or neighbour"),
        *_about_subjects(edits),
        *(Line("note", note) for note in found.notes),
    ]


def _about_subjects(edits: Sequence[Edit]) -> list[Line]:
    """Which edits have no subject in their prompt, which scans of tokens need; nothing where all
    have one."""
    without = sum(not edit.subject for edit in edits)
    strays = [e for e in edits if e.subject and subject_in(e.prompt, e.subject) is None]
    found = [f"none in {without} of {len(edits)} edits"] * bool(without)
    if strays:
        named = ((e.id, shorten(e.subject, WIDE), shorten(e.prompt, WIDE)) for e in strays[:SHOWN])
        shown = "; ".join(f"{edit}: '{subject}' in '{prompt}'" for edit, subject, prompt in named)
        more = f"; and {len(strays) - SHOWN} more" if len(strays) > SHOWN else ""
        found.append(f"{len(strays)} not in their prompt ({shown}{more})")
    return [Line("subjects", f"{'; '.join(found)}: {LEFT_OUT}")] if found else []


def about_conflicts(count: int, settings: SearchSettings) -> list[Line]:
    """How many prompts have several targets, and what is done about it; nothing where none has."""
    if not count:
        return []
    how = f"resolved: {settings.conflicts}" if settings.conflicts else CHOOSE
    return [Line("conflicts", f"{count} prompts with several targets; {how}")]


def search_line(lacking: str, count: int, share: float) -> Line:
    """Whether a search would start, and what it could conclude."""
    note = resolution_note(count, shares_of(share))
    return Line("search", lacking or (f"would start; {note}" if note else "would start"))


def tried(count: int, splitting: Callable[[], T]) -> tuple[T | None, str]:
    """How so many edits are split, None where they cannot be, and why a search could not be made of
    them; empty where it could."""
    lacking = why_too_few(count)
    try:
        return splitting(), lacking
    except UsageError as error:
        return None, lacking or f"a search needs edits that it can split: {error}"


def _has(edits: Sequence[Edit]) -> str:
    counts = {
        "rephrases": sum(len(edit.rephrases) for edit in edits),
        "neighbours": sum(len(edit.neighbours) for edit in edits),
        "other forms": sum(len(edit.forms) for edit in edits),
        "multi-hop questions": sum(len(edit.multihop) for edit in edits),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())
