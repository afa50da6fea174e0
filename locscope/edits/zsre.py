"""zsRE: questions on relations, with Natural Questions as neighbours (Levy 2017; De Cao 2021).

The neighbours' prompts begin with "nq question: ", which is kept: it is how they were published.
`pred`, what some other model once answered, and `cond` are not used. `portability` is there in the
set that EasyEdit extended (Yao et al. 2023).
"""

from locscope.edits.rows import Row, first_text, inner, optional, required
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
        old=first_text(row, "answers", row.cells.get("answers")),
        rephrases=(rephrase,) if rephrase else (),
        neighbours=(Probe(neighbour, answer),) if neighbour else (),
        multihop=_portability(row),
    )


def _portability(row: Row) -> tuple[Probe, ...]:
    """The question that needs the edit and its answer; sets that add portability have one each."""
    added = inner(row, "portability")
    if not added.cells:
        return ()
    return (Probe(required(added, "New Question"), required(added, "New Answer")),)
