"""zsRE and WikiBigEdit: edits with at most one rephrase, one neighbour and one multi-hop question.

zsRE (Levy 2017; De Cao 2021) has questions on relations, with Natural Questions as neighbours. Its
`pred`, what some other model once answered, and `cond` are not used; `portability` is there in the
set that EasyEdit extended (Yao et al. 2023).

WikiBigEdit (Thede et al. 2025) comes as published on the hub, and in the flat form of LocFT without
old answers and case ids. `object` repeats the answer; `personas` puts the question in some
character's voice, which no measure here asks for.
"""

from locscope.edits.rows import Row, first_text, inner, optional, probe, required, single
from locscope.records import Edit, Probe


def read_zsre(row: Row) -> Edit:
    """The edit in a row with `src`, `alt` and, where present, rephrase, neighbour, old answer.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id="",
        prompt=required(row, "src"),
        target=required(row, "alt"),
        subject=optional(row, "subject"),
        old=first_text(row, "answers", row.cells.get("answers")),
        rephrases=single(row, "rephrase"),
        # Neighbours begin with "nq question: ", which stays: it is how they were published.
        neighbours=probe(row, "loc", "loc_ans"),
        multihop=_portability(row),
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
        # Without an answer there is nothing to judge the model's answer by.
        multihop=tuple(hop for hop in probe(row, "mhop", "mhop_ans") if hop.answer),
    )


def _portability(row: Row) -> tuple[Probe, ...]:
    """The question that needs the edit and its answer; sets that add portability have one each."""
    added = inner(row, "portability")
    if not added.cells:
        return ()
    return (Probe(required(added, "New Question"), required(added, "New Answer")),)
