"""The edit formats: what tells each, which fields its reader uses, and where the reader is.

A format is a file in this folder with a function `read(row) -> Edit` and an entry in `FORMATS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from locscope.edits.rows import Row
from locscope.errors import UsageError
from locscope.records import Edit


@dataclass(frozen=True)
class Format:
    """An edit format.

    It is told by `fields`, which every edit needs, and by one or more of `some`, where there are
    any; `a.b` is the key `b` of an object in field `a`. `reads` are all the fields that the reader
    uses, `aside` those of the layout that say nothing of an edit. `note` is what somebody should
    know who reads results on such a file. `function` is `module:name`, imported when it is used;
    it takes a Row and gives an Edit, whose id is empty where the file gives none.
    """

    name: str
    title: str
    fields: tuple[str, ...]
    reads: tuple[str, ...]
    function: str
    some: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    note: str = ""

    def read(self, row: Row) -> Edit:
        """The edit in a row."""
        module, _, function = self.function.partition(":")
        return getattr(import_module(module), function)(row)


_FLAT = ("prompt", "target_new", "subject")
_FLAT += ("rephrase_prompt", "locality_prompt", "locality_ground_truth")

FORMATS: dict[str, Format] = {
    "zsre": Format(
        "zsre",
        "zsRE, flat (src, alt, ...)",
        fields=("src", "alt"),
        reads=(
            *("src", "alt", "subject", "answers", "rephrase", "loc", "loc_ans"),
            *("portability.New Question", "portability.New Answer"),
        ),
        function="locscope.edits.zsre:read",
        aside=("pred", "cond", "portability.Recalled Relation"),
    ),
    "counterfact-nested": Format(
        "counterfact-nested",
        "CounterFact as published (requested_rewrite, paraphrase_prompts, ...)",
        fields=("requested_rewrite.prompt", "requested_rewrite.target_new"),
        reads=(
            *("requested_rewrite.prompt", "requested_rewrite.subject"),
            *("requested_rewrite.target_new", "requested_rewrite.target_true"),
            *("paraphrase_prompts", "neighborhood_prompts", "case_id"),
        ),
        function="locscope.edits.counterfact_nested:read",
        aside=("attribute_prompts", "generation_prompts"),
    ),
    "knowedit": Format(
        "knowedit",
        "KnowEdit (prompt, target_new, locality or portability, ...)",
        fields=("prompt", "target_new"),
        some=("locality", "portability"),
        reads=(
            *("prompt", "target_new", "subject", "ground_truth", "case_id"),
            *("rephrase", "rephrase_prompt", "locality", "portability"),
        ),
        function="locscope.edits.knowedit:read",
        aside=("cond",),
        note="portability is asked as multi-hop questions (those without an answer are left out); "
        "of several accepted answers the first counts",
    ),
    "requests": Format(
        "requests",
        "requests of ROME, MEMIT, AlphaEdit (prompt, subject, target_new: {str})",
        fields=("prompt", "target_new.str"),
        reads=("prompt", "subject", "target_new.str", "target_true.str", "case_id"),
        function="locscope.edits.requests:read",
    ),
    "counterfact": Format(
        "counterfact",
        "CounterFact, flat (prompt, target_new, ground_truth, ...)",
        fields=("prompt", "target_new", "ground_truth"),
        reads=(*_FLAT, "ground_truth", "case_id"),
        function="locscope.edits.counterfact:read",
    ),
    "wikibigedit": Format(
        "wikibigedit",
        "WikiBigEdit, flat (prompt, target_new, ...)",
        fields=("prompt", "target_new"),
        reads=_FLAT,
        function="locscope.edits.wikibigedit:read",
    ),
    "wikibigedit-hub": Format(
        "wikibigedit-hub",
        "WikiBigEdit as published (update, ans, ...)",
        fields=("update", "ans"),
        reads=("update", "ans", "subject", "rephrase", "loc", "loc_ans", "mhop", "mhop_ans"),
        function="locscope.edits.wikibigedit_hub:read",
        aside=("object", "personas"),
    ),
    "own": Format(
        "own",
        "your own JSON, JSONL or CSV (prompt, target, ...)",
        fields=("prompt", "target"),
        reads=(
            *("prompt", "target", "id", "subject", "old"),
            *("rephrases", "neighbours", "forms", "multihop"),
        ),
        function="locscope.edits.own:read",
    ),
}
"""The formats, in the order they are tried: the first that fits is taken."""


def recognise(rows: Sequence[Row]) -> Format:
    """The format of a file with these rows; a UsageError where none fits.

    Half of the rows must have its fields: neither a first row without an old answer decides, nor a
    slip in one of many.
    """
    for entry in FORMATS.values():
        whole = sum(not missing(entry, row.cells) for row in rows)
        if 2 * whole >= len(rows) and _some(rows, entry.some):
            return entry
    # Half a row is told apart from an unknown format, so that the missing field gets named.
    for entry in reversed(FORMATS.values()):
        if _some(rows, entry.fields):
            return entry
    found = ", ".join(rows[0].cells) or "no fields"
    known = "; ".join(entry.title for entry in FORMATS.values())
    raise UsageError(
        f"{rows[0].where}: no known edit format has these fields ({found}): there are {known}"
    )


def missing(entry: Format, cells: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that every edit of the format needs and that are not there."""
    return tuple(field for field in entry.fields if not _there(cells, field))


def _some(rows: Sequence[Row], fields: Sequence[str]) -> bool:
    """Whether any row has any of the fields, or none is asked for."""
    return not fields or any(_there(row.cells, field) for row in rows for field in fields)


def _there(cells: Mapping[str, Any], field: str) -> bool:
    name, _, key = field.partition(".")
    value = cells.get(name)
    return name in cells and (not key or (isinstance(value, Mapping) and key in value))
