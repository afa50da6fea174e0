"""Whether there are enough edits for a search, and what it can conclude from so many."""

from collections.abc import Sequence
from math import sqrt

FEWEST = 10
"""With fewer edits a search is refused."""
FEW = 60
"""With fewer edits a search can only tell large differences apart, and says so."""
SHARES = (0.3, 0.4, 0.3)
"""Of the edits: S, which selects, V, which validates, and T, which is reported on."""


def why_too_few(count: int) -> str:
    """Why so many edits are too few for a search; empty where they are not."""
    if count >= FEWEST:
        return ""
    return (
        f"a search needs at least {FEWEST} edits ({FEW} or more to tell near locations apart) "
        f"and there {'is' if count == 1 else 'are'} {count}: add edits, or tune all of them at "
        "a location of your choice (locscope edit --location)"
    )


def resolution_note(count: int, shares: Sequence[float] = SHARES) -> str:
    """Which differences so many edits can show, split by those shares (S, V, T).

    Empty where there are too few edits for a search, or so many that nothing needs to be said.
    """
    if not FEWEST <= count < FEW:
        return ""
    select, validate = (round(share * count) for share in shares[:2])
    report = count - select - validate
    # A share of n edits has a 95 % interval of at most 1/sqrt(n) on either side (binomial, at one
    # half), so that smaller differences cannot be told apart.
    apart = 1 / sqrt(report)
    return (
        f"with {count} edits the split leaves {select} to select on, {validate} to validate on, "
        f"{report} to report on; differences below about {apart:.2f} cannot be told apart"
    )
