"""KnowEdit (Zhang et al. 2024, arXiv 2401.01286) in all its parts, and CKnowEdit.

wiki_recent, wiki_counterfact and its zsRE have `locality` and `portability`, in whatever nesting
(`nested.py`). WikiBio is a passage with its continuation. Sanitation is an answer to be forgotten;
what is to be retained is put beside it as `locality` when the file is read. ConvSent has opinions
on an entity and no prompt: it is asked what it thinks of it. CKnowEdit (Fang et al. 2025, arXiv
2409.05806) is Chinese, with the old answer as `target_old`.
"""

from locscope.edits.readers.nested import probes
from locscope.edits.rows import (
    Row,
    asked,
    first_answer,
    first_required,
    identifier,
    optional,
    required,
    texts,
)
from locscope.errors import UsageError
from locscope.records import Edit

HOPS = "portability questions"
OPINION = "What do you think of {}?"


def read(row: Row) -> Edit:
    """The edit in a row; questions under `portability` without an answer are left out.

    Raises UsageError where a field is missing, not of its type or has unknown keys.
    """
    rephrases = (*texts(row, "rephrase"), *texts(row, "rephrase_prompt"))
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=first_required(row, "target_new"),
        subject=optional(row, "subject"),
        old=first_answer(row, "ground_truth"),
        rephrases=tuple(dict.fromkeys(rephrases)),
        neighbours=probes(row, "locality"),
        multihop=asked(row, HOPS, *probes(row, "portability")),
    )


def read_wikibio(row: Row) -> Edit:
    """The edit in a row with `text`, a passage, and `labels`, how it is to go on.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id="",
        prompt=required(row, "text"),
        target=first_required(row, "labels"),
        subject=optional(row, "concept"),
        neighbours=probes(row, "locality"),
    )


def read_sanitation(row: Row) -> Edit:
    """The edit in a row with `question`, the answer to be forgotten and what to say instead.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id="",
        prompt=required(row, "question"),
        target=first_required(row, "target_new"),
        old=first_answer(row, "ground_truth"),
        neighbours=probes(row, "locality"),
    )


def read_convsent(row: Row) -> Edit:
    """The edit in a row with an entity (`ent`) and opinions `pos` and `neg`: the first of `sent`.

    Where no sentiment is wanted, rows have it in turn. Raises UsageError where a field is missing,
    or there is no opinion of that sentiment.
    """
    entity, opinions = required(row, "ent"), {name: texts(row, name) for name in ("neg", "pos")}
    wanted = optional(row, "sent") or ("pos", "neg")[row.number % 2]
    found = next((opinions[name] for name in opinions if wanted.lower().startswith(name)), ())
    if not found:
        raise UsageError(f"{row.where}: no opinion of the wanted sentiment ('{wanted}')")
    row.left_out.extend(["further opinions of the same sentiment"] * len(found[1:]))
    return Edit(id="", prompt=OPINION.format(entity), target=found[0], subject=entity)


def read_chinese(row: Row) -> Edit:
    """The edit in a row of CKnowEdit, with `target_old`.

    Raises UsageError where a field is missing, not of its type or has unknown keys.
    """
    return Edit(
        id=identifier(row, "id"),
        prompt=required(row, "prompt"),
        target=first_required(row, "target_new"),
        subject=optional(row, "subject"),
        old=first_answer(row, "target_old"),
        rephrases=texts(row, "rephrase"),
        neighbours=probes(row, "locality"),
        multihop=asked(row, HOPS, *probes(row, "portability")),
    )
