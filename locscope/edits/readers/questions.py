"""zsRE and WikiBigEdit: edits with at most one neighbour and one multi-hop question.

zsRE (Levy 2017; De Cao 2021) has questions on relations. MEND's file adds Natural Questions as
neighbours; its `pred`, what some other model once answered, and `cond` are not used; `portability`
is there in the set that EasyEdit extended (Yao et al. 2023). De Cao's own file (KILT's layout) has
several new answers to choose from and no neighbours. MzsRE (Wang et al. 2023, arXiv 2312.13040)
has each question in several languages.

WikiBigEdit (Thede et al. 2025) comes as published on the hub, and in the flat form of LocFT without
old answers and case ids. `object` repeats the answer; `personas` puts the question in some
character's voice, which no measure here asks for.
"""

from collections.abc import Mapping
from dataclasses import replace

from locscope.edits.rows import (
    Row,
    asked,
    first_answer,
    first_required,
    first_text,
    identifier,
    inner,
    optional,
    probe,
    required,
    single,
    texts,
)
from locscope.records import Edit, Probe

LANGUAGES = ("en", "cz", "cs", "de", "du", "nl", "es", "fr", "pt", "ru", "th", "tr", "vi", "zh")
"""Languages of MzsRE, as its files call them (`cz` is Czech, `du` Dutch)."""


def read_zsre(row: Row) -> Edit:
    """The edit in a row with `src`, `alt` and, where present, rephrase, neighbour, old answer.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id="",
        prompt=required(row, "src"),
        target=required(row, "alt"),
        subject=optional(row, "subject"),
        old=first_answer(row, "answers"),
        rephrases=single(row, "rephrase"),
        # Neighbours begin with "nq question: ", which stays: it is how they were published.
        neighbours=probe(row, "loc", "loc_ans"),
        multihop=_portability(row),
    )


def read_decao(row: Row) -> Edit:
    """The edit in a row with `input` and `alternatives`, of which the first is the new answer.

    Raises UsageError where a field is missing or not of its type.
    """
    outputs = row.cells.get("output")
    entries = outputs if isinstance(outputs, list) else [outputs]
    answers = [e.get("answer") if isinstance(e, Mapping) else e for e in entries]
    kept = texts(row, "filtered_rephrases")
    return Edit(
        id=identifier(row, "id"),
        prompt=required(row, "input"),
        target=first_required(row, "alternatives"),
        old=first_text(row, "output", answers),
        rephrases=kept or texts(row, "rephrases"),
    )


def read_mzsre(row: Row) -> Edit:
    """The English edit in a row with one of zsRE for each language, or that of the first language
    there is; the others are forms of it.

    Raises UsageError where a field is missing or not of its type.
    """
    rows = {language: inner(row, language) for language in LANGUAGES}
    # In the order of the file, English first.
    named = dict.fromkeys(("en", *row.cells))
    first, *others = [name for name in named if name in rows and rows[name].cells] or ["en"]
    edited = read_zsre(rows[first])
    forms, neighbours, hops = list[Probe](), [*edited.neighbours], [*edited.multihop]
    for language in others:
        other = rows[language]
        question = Probe(required(other, "src"), optional(other, "alt"), language)
        rephrases = [Probe(text, question.answer, language) for text in single(other, "rephrase")]
        forms += asked(row, f"questions ({language})", question, *rephrases)
        neighbours += probe(other, "loc", "loc_ans")
        hops += _portability(other)
    return replace(
        edited,
        id=identifier(row, "case_id"),
        neighbours=tuple(neighbours),
        forms=tuple(forms),
        multihop=tuple(hops),
    )


def read_wikibigedit(row: Row) -> Edit:
    """The edit in a row with `prompt` and `target_new`.

    Raises UsageError where a field is missing or not a text.
    """
    return Edit(
        id="",
        prompt=required(row, "prompt"),
        target=required(row, "target_new"),
        subject=optional(row, "subject"),
        rephrases=single(row, "rephrase_prompt"),
        neighbours=probe(row, "locality_prompt", "locality_ground_truth"),
    )


def read_wikibigedit_hub(row: Row) -> Edit:
    """The edit in a row with `update` and `ans`.

    Raises UsageError where a field is missing or not a text.
    """
    return Edit(
        id="",
        prompt=required(row, "update"),
        target=required(row, "ans"),
        subject=optional(row, "subject"),
        rephrases=single(row, "rephrase"),
        neighbours=probe(row, "loc", "loc_ans"),
        multihop=asked(row, "multi-hop questions", *probe(row, "mhop", "mhop_ans")),
    )


def _portability(row: Row) -> tuple[Probe, ...]:
    """The question that needs the edit and its answer; sets that add portability have one each."""
    added = inner(row, "portability")
    if not added.cells:
        return ()
    question = Probe(required(added, "New Question"), optional(added, "New Answer"))
    return asked(row, "portability questions", question)
