"""CounterFact (Meng et al. 2022), in the flat form of EasyEdit and LocFT."""

from locscope.edits.rows import Row, identifier, optional, required
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row with `prompt`, `target_new`, `ground_truth`; its id is `case_id`."""
    rephrase, neighbour = optional(row, "rephrase_prompt"), optional(row, "locality_prompt")
    answer = optional(row, "locality_ground_truth")
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=required(row, "target_new"),
        subject=optional(row, "subject"),
        old=optional(row, "ground_truth"),
        rephrases=(rephrase,) if rephrase else (),
        neighbours=(Probe(neighbour, answer),) if neighbour else (),
    )
