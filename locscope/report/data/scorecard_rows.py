"""Data of the scorecard: how well each scan predicted what tuning showed, as rows and in words."""

from math import isnan

from locscope.records import ScanVerdict, Scorecard
from locscope.records.outcome import VERDICTS
from locscope.report.data.inputs import ReportInputs, ranked
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import interval, number, sentence

COLUMNS = (
    *("scan", "variant", "verdict", "within part", "added R2", "p within", "p beyond"),
    *("regret top 1", "top 3", "top 5", "in full", "parts mixed", "bounds aside", "locations"),
    "resampled",
)
NOTE = (
    "Within part: Spearman's correlation among the layers of one part. Added R2: share of that "
    "order beyond a smooth curve over depth, below zero where it points the wrong way. p: of "
    "shuffled runs of layers and of random scores as smooth as the scan's, after Holm's correction "
    "for all claims. Regret: what the best of its first locations "
    "lacks to the best of all, in score. In full: with full trials of a random sample of "
    "locations. In brackets: 95 % over groups of edits; scans that are no means "
    "over requests are held fixed."
)


def verdicts_table(inputs: ReportInputs) -> Table:
    """Every scan beside depth and chance, those that predict first, then by correlation."""
    verdicts = inputs.scorecard.verdicts if inputs.scorecard else ()
    rows = tuple(_row(verdict) for verdict in sorted(verdicts, key=_best_first))
    caption = "How well each scan predicted what tuning showed"
    return Table("verdicts", caption, COLUMNS, rows, NOTE if rows else "")


def scorecard_lines(card: Scorecard | None) -> tuple[str, ...]:
    """What the scans were judged by and how far that can be trusted, in sentences."""
    if card is None or not card.locations:
        return ()
    by = f"{card.locations} locations, {card.edits} edits in {card.groups} groups"
    lines = [f"judged by: {card.outcome} ({by})"]
    if not isnan(card.outcome_reliability):
        lines.append(
            f"on other edits of the kind the locations would come out alike to "
            f"{number(card.outcome_reliability)} (rank correlation within parts)"
        )
    if not isnan(card.looks_full):
        bounds = interval(card.looks_full_low, card.looks_full_high)
        lines.append(
            f"trials at rung 1 and full trials of the same {card.full_count} locations agree to "
            f"{number(card.looks_full)} {bounds}".rstrip()
        )
    return tuple(map(sentence, (*lines, *card.notes)))


def verdict_lines(inputs: ReportInputs) -> tuple[tuple[str, str], ...]:
    """Every scan with what the scorecard says of it, in one sentence; the best first."""
    titles = {scan.descriptor.name: scan.descriptor.title for scan in inputs.scans}
    verdicts = inputs.scorecard.verdicts if inputs.scorecard else ()
    return tuple(
        (
            ", ".join(filter(None, (titles.get(v.scan, v.scan), v.variant))) + ":",
            sentence(v.sentence or v.verdict),
        )
        for v in sorted(verdicts, key=_best_first)
    )


def verdict_counts(card: Scorecard) -> str:
    """How many variants got which verdict, and the names of those that predict."""
    counts = []
    for verdict in VERDICTS:
        names = [f"{row.scan} {row.variant}" for row in card.verdicts if row.verdict == verdict]
        named = f" ({', '.join(names)})" if names and verdict == VERDICTS[0] else ""
        counts.append(f"{verdict}: {len(names)}{named}")
    return "; ".join(counts)


def _row(verdict: ScanVerdict) -> tuple[TableCell, ...]:
    return (
        TableCell(verdict.scan),
        TableCell(verdict.variant),
        TableCell(verdict.verdict),
        _spanned(verdict.within, verdict.within_low, verdict.within_high),
        _spanned(verdict.added, verdict.added_low, verdict.added_high),
        figure_cell(verdict.p_within),
        figure_cell(verdict.p_added),
        _spanned(verdict.regret_1, verdict.regret_1_low, verdict.regret_1_high),
        _spanned(verdict.regret_3, verdict.regret_3_low, verdict.regret_3_high),
        _spanned(verdict.regret_5, verdict.regret_5_low, verdict.regret_5_high),
        _spanned(verdict.full, verdict.full_low, verdict.full_high),
        figure_cell(verdict.overall),
        figure_cell(verdict.score_only),
        TableCell(str(verdict.count), verdict.count),
        TableCell("yes" if verdict.resampled else "no"),
    )


def _spanned(value: float, low: float, high: float) -> TableCell:
    return TableCell(f"{number(value)} {interval(low, high)}".rstrip(), value)


def _best_first(row: ScanVerdict) -> tuple[int, float]:
    # Old runs may hold verdicts that are no longer given: they come last.
    judged = row.verdict in VERDICTS
    return VERDICTS.index(row.verdict) if judged else len(VERDICTS), -ranked(row.within)
