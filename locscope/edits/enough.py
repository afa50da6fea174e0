"""What a search can still conclude from so many edits, and when it has no business to start."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

FEWEST = 10
"""With fewer edits a search is refused."""
FEW = 60
"""With fewer edits a search can only tell large differences apart, and says so."""
SHARES = (0.3, 0.4, 0.3)
"""Of the edits: S, which selects, V, which validates, and T, which is reported on."""


@dataclass(frozen=True)
class Verdict:
    """Whether a search is `refused`, and what is to be said of the number of edits (empty where
    there are enough of them)."""

    refused: bool
    note: str


def enough(count: int, shares: Sequence[float] = SHARES) -> Verdict:
    """The verdict on so many edits, split by those shares (choose, validate, report).

    A share of n edits has a 95 % interval of at most 1/sqrt(n) on either side (binomial, at one
    half), so that smaller differences cannot be told apart.
    """
    if count < FEWEST:
        return Verdict(
            True,
            f"a search needs at least {FEWEST} edits ({FEW} or more to tell near locations apart) "
            f"and there {'is' if count == 1 else 'are'} {count}: add edits, or tune all of them at "
            "a location of your choice (locscope edit --location)",
        )
    if count >= FEW:
        return Verdict(False, "")
    choose, validate = (round(share * count) for share in shares[:2])
    report = count - choose - validate
    apart = 1 / sqrt(report)
    return Verdict(
        False,
        f"with {count} edits the split leaves {choose} to select on, {validate} to validate on, "
        f"{report} to report on; differences below about {apart:.2f} cannot be told apart",
    )
