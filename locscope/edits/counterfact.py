"""CounterFact (Meng et al. 2022, arXiv 2202.05262) in its three layouts.

Flat is the form of EasyEdit and LocFT. As ROME publishes it, the edit is in `requested_rewrite`;
`attribute_prompts` (subjects for which the new target is true) and `generation_prompts` (text
without an answer) are not used. Requests are lists as ROME, MEMIT and AlphaEdit take them.
"""

from locscope.edits.rows import Row, identifier, inner, optional, probe, required, single, texts
from locscope.records import Edit, Probe


def read_flat(row: Row) -> Edit:
    """The edit in a row with `prompt`, `target_new`, `ground_truth`; its id is `case_id`.

    Raises UsageError where a field is missing or not a text.
    """
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=required(row, "target_new"),
        subject=optional(row, "subject"),
        old=optional(row, "ground_truth"),
        rephrases=single(row, "rephrase_prompt"),
        neighbours=probe(row, "locality_prompt", "locality_ground_truth"),
    )


def read_published(row: Row) -> Edit:
    """The edit in a row with `requested_rewrite`, with all its paraphrases and neighbours.

    Raises UsageError where a field is missing or not of its type.
    """
    request = inner(row, "requested_rewrite")
    old = optional(inner(request, "target_true"), "str")
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(request, "prompt"),
        target=required(inner(request, "target_new"), "str"),
        subject=optional(request, "subject"),
        old=old,
        rephrases=texts(row, "paraphrase_prompts"),
        # The file states no answers of neighbours: each was chosen because it has the old answer.
        neighbours=tuple(Probe(prompt, old) for prompt in texts(row, "neighborhood_prompts")),
    )


def read_request(row: Row) -> Edit:
    """The edit in a row with `prompt` (mostly with {} for the subject) and `target_new: {str}`.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=required(inner(row, "target_new"), "str"),
        subject=optional(row, "subject"),
        old=optional(inner(row, "target_true"), "str"),
    )
