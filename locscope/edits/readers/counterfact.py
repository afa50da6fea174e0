"""CounterFact (Meng et al. 2022, arXiv 2202.05262) in its layouts, and sets built on them.

Flat is the form of EasyEdit and LocFT. As ROME publishes it, the edit is in `requested_rewrite`;
`attribute_prompts` (subjects for which the new target is true) and `generation_prompts` (text
without an answer) are not used. AKEW (Wu et al. 2024, arXiv 2402.18909) adds passages to it, which
are not used either, and the fact as a question. Requests are lists as ROME, MEMIT and AlphaEdit
take them. In counterfact-tracing (of the hub) the false answer is the new target; known_1000 of
ROME has facts that models know, and no other answer.
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
    target = required(inner(request, "target_new"), "str")
    old = optional(inner(request, "target_true"), "str")
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(request, "prompt"),
        target=target,
        subject=optional(request, "subject"),
        old=old,
        rephrases=texts(row, "paraphrase_prompts"),
        # The file states no answers of neighbours: each was chosen because it has the old answer.
        neighbours=tuple(Probe(prompt, old) for prompt in texts(row, "neighborhood_prompts")),
        forms=tuple(Probe(text, target, "question") for text in single(request, "question")),
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


def read_tracing(row: Row) -> Edit:
    """The edit in a row of counterfact-tracing: from `target_true` to `target_false`.

    Raises UsageError where a field is missing or not a text.
    """
    return Edit(
        id="",
        prompt=required(row, "prompt"),
        target=required(row, "target_false"),
        subject=optional(row, "subject"),
        old=optional(row, "target_true"),
    )


def read_known(row: Row) -> Edit:
    """A fact of known_1000 as an edit to what is true (`attribute`): for scans.

    Raises UsageError where a field is missing or not of its type.
    """
    return Edit(
        id=identifier(row, "known_id"),
        prompt=required(row, "prompt"),
        target=required(row, "attribute"),
        subject=optional(row, "subject"),
    )
