"""The edit formats: the fields that identify each, those that its reader uses, and the reader.

A format is a function `(row) -> Edit` in a file of this folder and an entry in `FORMATS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from locscope.edits.rows import Row
from locscope.errors import UsageError
from locscope.plugins import function_of
from locscope.records import Edit


@dataclass(frozen=True)
class EditFormat:
    """An edit format.

    A file has it whose rows have all of `fields`, which every edit needs, and at least one of
    `any_of`, if there are such; `a.b` is the key `b` of an object in field `a`. `reads` are all
    fields that the reader uses, `aside` those of the layout that say nothing of an edit. `note` is
    for those who read results on such a file. `function` is `module:name`, imported when it is
    used; it takes a Row and gives an Edit, whose id is empty where the file has none.
    """

    name: str
    title: str
    fields: tuple[str, ...]
    reads: tuple[str, ...]
    function: str
    any_of: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    note: str = ""

    def read(self, row: Row) -> Edit:
        """The edit in a row."""
        return function_of(self.function)(row)


_FLAT = ("prompt", "target_new", "subject")
_FLAT += ("rephrase_prompt", "locality_prompt", "locality_ground_truth")

FORMATS: dict[str, EditFormat] = {
    "zsre": EditFormat(
        "zsre",
        "zsRE, flat (src, alt, ...)",
        fields=("src", "alt"),
        reads=(
            *("src", "alt", "subject", "answers", "rephrase", "loc", "loc_ans"),
            *("portability.New Question", "portability.New Answer"),
        ),
        function="locscope.edits.questions:read_zsre",
        aside=("pred", "cond", "portability.Recalled Relation"),
    ),
    "counterfact-nested": EditFormat(
        "counterfact-nested",
        "CounterFact as published (requested_rewrite, paraphrase_prompts, ...)",
        fields=("requested_rewrite.prompt", "requested_rewrite.target_new"),
        reads=(
            *("requested_rewrite.prompt", "requested_rewrite.subject"),
            *("requested_rewrite.target_new", "requested_rewrite.target_true"),
            *("paraphrase_prompts", "neighborhood_prompts", "case_id"),
        ),
        function="locscope.edits.counterfact:read_published",
        aside=("attribute_prompts", "generation_prompts"),
    ),
    "knowedit": EditFormat(
        "knowedit",
        "KnowEdit (prompt, target_new, locality or portability, ...)",
        fields=("prompt", "target_new"),
        any_of=("locality", "portability"),
        reads=(
            *("prompt", "target_new", "subject", "ground_truth", "case_id"),
            *("rephrase", "rephrase_prompt", "locality", "portability"),
        ),
        function="locscope.edits.knowedit:read",
        aside=("cond",),
        note="portability is asked as multi-hop questions (those without an answer are left out); "
        "of several accepted answers the first counts",
    ),
    "requests": EditFormat(
        "requests",
        "requests of ROME, MEMIT, AlphaEdit (prompt, subject, target_new: {str})",
        fields=("prompt", "target_new.str"),
        reads=("prompt", "subject", "target_new.str", "target_true.str", "case_id"),
        function="locscope.edits.counterfact:read_request",
    ),
    "counterfact": EditFormat(
        "counterfact",
        "CounterFact, flat (prompt, target_new, ground_truth, ...)",
        fields=("prompt", "target_new", "ground_truth"),
        reads=(*_FLAT, "ground_truth", "case_id"),
        function="locscope.edits.counterfact:read_flat",
    ),
    "wikibigedit": EditFormat(
        "wikibigedit",
        "WikiBigEdit, flat (prompt, target_new, ...)",
        fields=("prompt", "target_new"),
        reads=_FLAT,
        function="locscope.edits.questions:read_wikibigedit",
    ),
    "wikibigedit-hub": EditFormat(
        "wikibigedit-hub",
        "WikiBigEdit as published (update, ans, ...)",
        fields=("update", "ans"),
        reads=("update", "ans", "subject", "rephrase", "loc", "loc_ans", "mhop", "mhop_ans"),
        function="locscope.edits.questions:read_wikibigedit_hub",
        aside=("object", "personas"),
    ),
    "own": EditFormat(
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
"""The formats, in the order in which they are tried: the first that fits is taken.

The order matters: a KnowEdit or flat CounterFact file has all fields of flat WikiBigEdit too.
"""


def recognise(rows: Sequence[Row]) -> EditFormat:
    """The format of a file with these rows.

    Half of the rows must have its fields: a first row without an old answer does not decide, nor
    does a slip in one of many. Raises UsageError where no format fits.
    """
    for entry in FORMATS.values():
        complete = sum(not missing(entry, row.cells) for row in rows)
        if 2 * complete >= len(rows) and _any_there(rows, entry.any_of):
            return entry
    # Rows with some of a format's fields count as that format, so that the missing one is named.
    for entry in reversed(FORMATS.values()):
        if _any_there(rows, entry.fields):
            return entry
    fields = ", ".join(rows[0].cells) or "no fields"
    titles = "; ".join(entry.title for entry in FORMATS.values())
    raise UsageError(
        f"{rows[0].where}: no known edit format has these fields ({fields}): there are {titles}"
    )


def missing(entry: EditFormat, cells: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that every edit of the format needs and that are not there."""
    return tuple(field for field in entry.fields if not _there(cells, field))


def _any_there(rows: Sequence[Row], fields: Sequence[str]) -> bool:
    """Whether any row has any of the fields, or there are no fields to look for."""
    return not fields or any(_there(row.cells, field) for row in rows for field in fields)


def _there(cells: Mapping[str, Any], field: str) -> bool:
    name, _, key = field.partition(".")
    value = cells.get(name)
    return name in cells and (not key or (isinstance(value, Mapping) and key in value))
