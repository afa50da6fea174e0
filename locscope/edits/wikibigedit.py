"""WikiBigEdit (Thede et al. 2025), in the flat form of LocFT: no old answers, no case ids."""

from locscope.edits.rows import Row, optional, required
from locscope.records import Edit, Probe


def read(row: Row) -> Edit:
    """The edit in a row with `prompt` and `target_new`."""
    rephrase, neighbour = optional(row, "rephrase_prompt"), optional(row, "locality_prompt")
    answer = optional(row, "locality_ground_truth")
    return Edit(
        id="",
        prompt=required(row, "prompt"),
        target=required(row, "target_new"),
        subject=optional(row, "subject"),
        rephrases=(rephrase,) if rephrase else (),
        neighbours=(Probe(neighbour, answer),) if neighbour else (),
    )
