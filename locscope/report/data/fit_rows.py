"""Data of the table of trials by which recipes were fitted to the edits that will be made."""

from locscope.records import Recommendation
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import in_words, names, rate


def fits_table(recommendation: Recommendation | None) -> Table:
    """The trials by which recipes were fitted to the edits that will be made."""
    found = recommendation.deployment if recommendation else None
    if recommendation is None or found is None:
        return Table("fits", "Fitted to the edits", (), ())
    rows = tuple(
        (
            TableCell(one.location),
            TableCell(rate(one.lr), one.lr),
            TableCell(str(one.batch), one.batch),
            figure_cell(one.score),
            figure_cell(one.perplexity_ratio, names(one.violated, "perplexity_ratio")),
            TableCell("; ".join(map(in_words, one.violated)), alarm=bool(one.violated)),
        )
        for one in found.fits
    )
    columns = ("location", "lr", "batch", "score on S and V", "perplexity ratio", "note")
    caption = f"Recipes fitted to {found.edits:,} edits"
    note = (
        "All of them are tuned; recipes are judged by the outcomes of the edits of S and V, and by "
        "the neutral texts that serve for choosing, within the bounds less half of the room that "
        "choices on S leave. The numbers at the top are of the recipe used, over all its edits and "
        "on the other texts."
    )
    return Table("fits", caption, columns, rows, note)
