"""The verdict on a scan in one sentence: predicts here, does not, cannot tell."""

from dataclasses import dataclass, replace
from math import isnan, nan

from locscope.records import ScanVerdict
from locscope.records.outcome import AS_DEPTH, CANNOT_TELL, DOES_NOT, PREDICTS

LEVEL = 0.05
"""P-values after Holm's correction must stay below."""
USEFUL = 0.3
"""A correlation below explains less than a tenth of the order: no help in choosing a location."""
ADDS = 0.02
"""A smaller share of the order beyond depth is nothing to go by."""
FEWEST = 8
"""Locations to compare, below which nothing is said."""
WRONG_WAY = "points the wrong way"


@dataclass(frozen=True)
class Grounds:
    """A row of the scorecard without its verdict, and what else the verdict rests on.

    `chance` is what random orders stay below, on either side of zero, in 95 % of families of as
    many scans; `outcome_reliability` is how well the outcome's order agrees with itself on other
    edits. Both are NaN where too few locations can be compared.
    """

    row: ScanVerdict
    chance: float = nan
    outcome_reliability: float = nan

    @property
    def ceiling(self) -> float:
        """The highest correlation that edits and locations leave possible, noise of the outcome
        out.

        NaN where there is no interval over edits.
        """
        reliability = self.outcome_reliability
        # Noise of the outcome lowers every correlation with it (Spearman 1904).
        by_edits = self.row.within_high / reliability if reliability > 0 else 1.0
        if isnan(by_edits):
            return nan
        return min(1.0, max(by_edits, self.row.within + self.chance))


def judge(evidence: Grounds) -> ScanVerdict:
    """The row with what the evidence allows to say; its p-values are corrected."""
    verdict, why = _judgement(evidence)
    return replace(evidence.row, verdict=verdict, sentence=f"{verdict}: {why}")


def claims(verdict: str, sentence: str) -> bool:
    """Whether it is said that a scan has to do with the outcome, in either direction."""
    return verdict in (PREDICTS, AS_DEPTH) or WRONG_WAY in sentence


def _judgement(evidence: Grounds) -> tuple[str, str]:
    """One of the verdicts, and why."""
    row = evidence.row
    if row.count < FEWEST:
        why = f"only {row.count} of its locations can be compared within their part"
        return CANNOT_TELL, why
    if isnan(evidence.outcome_reliability):
        why = "too few groups of edits, or tuning showed no differences between locations"
        return CANNOT_TELL, why
    # Equal ranks everywhere have no correlation.
    if isnan(row.within):
        return DOES_NOT, "within a part it scores all locations alike"
    if row.p_within < LEVEL and row.within_low > 0:
        return _positive(row)
    if evidence.ceiling < USEFUL or _opposed(row):
        return DOES_NOT, _negative(evidence)
    return CANNOT_TELL, _doubt(evidence)


def _positive(row: ScanVerdict) -> tuple[str, str]:
    order = f"{_within(row)} within a part"
    added = _share(row.added, row.added_low, row.added_high)
    # A share may be surely above zero and still too small to choose a location by.
    if row.p_added < LEVEL and row.added_low > 0 and row.added >= ADDS:
        return PREDICTS, f"{order}, and {added} of that order is beyond depth"
    if isnan(row.added):
        return AS_DEPTH, f"{order}, and its order is that of depth itself"
    return AS_DEPTH, f"{order}, beyond depth {added}, nothing to go by"


def _opposed(row: ScanVerdict) -> bool:
    return row.p_within < LEVEL and row.within_high < 0


def _negative(evidence: Grounds) -> str:
    if _opposed(evidence.row):
        return f"{_within(evidence.row)} within a part, it {WRONG_WAY}"
    most = f"at most {evidence.ceiling:.2f} with all doubt in favour"
    return f"{_within(evidence.row)} within a part, {most}"


def _doubt(evidence: Grounds) -> str:
    row, reliability = evidence.row, evidence.outcome_reliability
    if reliability < USEFUL:
        return f"the outcome agrees only {reliability:.2f} with itself on other edits"
    if row.p_within < LEVEL:
        return f"{_within(row)} within a part, which does not hold on other edits"
    so_far = f"the best of so many random scans may reach {evidence.chance:.2f}"
    return f"{_within(row)} within a part, and on {row.count} locations {so_far}"


def _within(row: ScanVerdict) -> str:
    return f"orders locations with {_share(row.within, row.within_low, row.within_high)}"


def _share(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" if isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
