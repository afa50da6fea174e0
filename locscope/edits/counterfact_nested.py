"""CounterFact as ROME publishes it (Meng et al. 2022): the edit lies in `requested_rewrite`.

Neighbours have the old answer in common: they were chosen for it. `attribute_prompts` (subjects for
which the new target is true) and `generation_prompts` (text without an answer) are not used.
"""

from locscope.edits.rows import Row, identifier, inner, optional, required, texts
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row, with all its paraphrases and neighbours."""
    request = inner(row, "requested_rewrite")
    old = optional(inner(request, "target_true"), "str")
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(request, "prompt"),
        target=required(inner(request, "target_new"), "str"),
        subject=optional(request, "subject"),
        old=old,
        rephrases=texts(row, "paraphrase_prompts"),
        neighbours=tuple(Probe(prompt, old) for prompt in texts(row, "neighborhood_prompts")),
    )
