"""WikiBigEdit as published on the hub (Thede et al. 2025).

`object` repeats the answer; `personas` puts the question in some character's voice, which no
measure here asks for.
"""

from locscope.edits.rows import Row, optional, required
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row with `update` and `ans`; a multi-hop question needs its answer."""
    rephrase, neighbour = optional(row, "rephrase"), optional(row, "loc")
    answer, hop, end = optional(row, "loc_ans"), optional(row, "mhop"), optional(row, "mhop_ans")
    return Edit(
        id="",
        prompt=required(row, "update"),
        target=required(row, "ans"),
        subject=optional(row, "subject"),
        rephrases=(rephrase,) if rephrase else (),
        neighbours=(Probe(neighbour, answer),) if neighbour else (),
        multihop=(Probe(hop, end),) if hop and end else (),
    )
