"""Lists of requests as ROME, MEMIT and AlphaEdit take them (Meng et al. 2022, 2023)."""

from locscope.edits.rows import Row, identifier, inner, optional, required
from locscope.records import Edit


def read(row: Row) -> Edit:
    """The edit in a row with `prompt` (mostly with {} for the subject) and `target_new: {str}`."""
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=required(inner(row, "target_new"), "str"),
        subject=optional(row, "subject"),
        old=optional(inner(row, "target_true"), "str"),
    )
