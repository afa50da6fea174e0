"""zsRE: questions on relations, with Natural Questions as neighbours (Levy 2017; De Cao 2021).

The neighbours' prompts begin with "nq question: ", which is kept: it is how they were published.
`pred`, what some other model once answered, and `cond` are not used.
"""

from typing import Any

from locscope.edits.rows import Row, checked_text, optional, required
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row with `src`, `alt` and, where present, rephrase, neighbour, old answer."""
    rephrase, neighbour = optional(row, "rephrase"), optional(row, "loc")
    answer = optional(row, "loc_ans")
    return Edit(
        id="",
        prompt=required(row, "src"),
        target=required(row, "alt"),
        subject=optional(row, "subject"),
        old=_first(row, row.cells.get("answers")),
        rephrases=(rephrase,) if rephrase else (),
        neighbours=(Probe(neighbour, answer),) if neighbour else (),
    )


def _first(row: Row, answers: Any) -> str:
    if isinstance(answers, list):
        return checked_text(row, "answers", answers[0]) if answers else ""
    return optional(row, "answers")
